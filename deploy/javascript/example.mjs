// REDIS_URL=$(learner server --url) node example.mjs, while a worker of the model "spam" runs (the README of the project).
import { Client } from "./learner.mjs";

const spam = new Client("spam");
await spam.push({ address: "abc@gmail.com" }, 1);
await spam.push({ address: "abc.gmail.com" }, 0);
console.log(await spam.predict({ address: "xyz@gmail.com" }, { outcomeId: "order 1" }));
await spam.outcome("order 1", 1); // often hours later
for (const { name, contribution } of (await spam.explain({ address: "xyz@gmail.com" })).slice(0, 3)) {
  console.log(`${name} adds ${contribution.toFixed(2)}`);
}
spam.close();
