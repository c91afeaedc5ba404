// A client of the protocol (learner/service/README.md) in plain JavaScript, on node's own sockets: there is nothing to install.
// With a Redis client of your own, send the same commands through that.
import { randomUUID } from "node:crypto";
import net from "node:net";
import tls from "node:tls";

/** A connection to Redis: sends commands, reads replies (RESP2), in order. */
class Connection {
  #waiting = [];
  #received = Buffer.alloc(0);

  constructor(url) {
    const { protocol, hostname, port, username, password, pathname, searchParams } = new URL(url);
    const database = searchParams.get("db") ?? (protocol === "unix:" ? "0" : pathname.slice(1) || "0");
    const secret = decodeURIComponent(password) || searchParams.get("password");
    const at = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 6379) };
    if (protocol === "unix:") this.socket = net.connect({ path: decodeURIComponent(pathname) });
    else this.socket = protocol === "rediss:" ? tls.connect({ ...at, servername: at.host }) : net.connect(at);
    this.socket.on("data", (bytes) => this.#read(bytes));
    this.socket.on("error", (error) => this.#fail(error));
    this.socket.on("close", () => this.#fail(new Error("the connection to the server was closed")));
    if (secret) this.send("AUTH", ...(username ? [decodeURIComponent(username)] : []), secret).catch(() => {});
    if (database !== "0") this.send("SELECT", database).catch(() => {});
  }

  /** Send a command; resolves to its reply. */
  send(...words) {
    const bulk = words.map(String).map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${bulk.join("")}`);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #read(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    for (let found; (found = parsed(this.#received, 0)); ) {
      this.#received = this.#received.subarray(found.end);
      const { resolve, reject } = this.#waiting.shift();
      if (found.value instanceof Error) reject(found.value);
      else resolve(found.value);
    }
  }

  #fail(error) {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** Return the reply that begins at a byte, and where it ends; undefined if it is not all there yet. */
function parsed(bytes, start) {
  const line = bytes.indexOf("\r\n", start);
  if (line < 0) return undefined;
  const text = bytes.toString("utf8", start + 1, line);
  let end = line + 2;
  switch (String.fromCharCode(bytes[start])) {
    case "+": return { value: text, end };
    case "-": return { value: new Error(text), end };
    case ":": return { value: Number(text), end };
    case "$":
      if (text === "-1") return { value: null, end };
      end += Number(text) + 2;
      return end <= bytes.length ? { value: bytes.toString("utf8", line + 2, end - 2), end } : undefined;
    case "*": {
      const value = text === "-1" ? null : [];
      for (let i = 0; i < Number(text); i++) {
        const part = parsed(bytes, end);
        if (!part) return undefined;
        value.push(part.value);
        end = part.end;
      }
      return { value, end };
    }
    default: throw new Error(`the server's reply must be RESP (got ${text})`);
  }
}

/** A model's client: pushes examples and asks for predictions, also many at once. */
export class Client {
  #pending = new Map(); // what waits for an answer, by the request's id
  #listening = false;
  #number = 0;

  constructor(model, url = process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0", { timeout = 5 } = {}) {
    this.prefix = `learner:{${model}}:`;
    this.reply = `${this.prefix}replies:${randomUUID()}`;
    this.timeout = timeout;
    this.commands = new Connection(url);
    this.replies = new Connection(url); // BLPOP holds up its connection
  }

  /** Push an example. With the same `id` again it is learned once: so it may be repeated when there was no answer. */
  push(record, target, { importance = 1, id = randomUUID() } = {}) {
    const fields = ["record", JSON.stringify(record), "target", target, "importance", importance, "id", id];
    return this.commands.send("XADD", `${this.prefix}examples`, "*", ...fields);
  }

  /** Say what came of a prediction that was asked for with this `outcomeId`: it is learned from the features of then, once. */
  outcome(outcomeId, target) {
    return this.commands.send("XADD", `${this.prefix}examples`, "*", "outcome", outcomeId, "target", target);
  }

  /** Ask for a prediction; resolves to the reply: score, prediction, label and so on. */
  async ask(record, ...fields) {
    const id = String(++this.#number);
    const answer = new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no answer within ${this.timeout} s: does the model's worker run?`));
      this.#pending.set(id, { resolve, reject, timer: setTimeout(late, 1000 * this.timeout) });
    }).finally(() => {
      clearTimeout(this.#pending.get(id).timer);
      this.#pending.delete(id);
    });
    answer.catch(() => {}); // it may fail before anybody awaits it
    const request = ["record", JSON.stringify(record), "reply", this.reply, "id", id, "deadline_ms", 1000 * this.timeout];
    await this.commands.send("XADD", `${this.prefix}requests`, "*", ...request, ...fields);
    this.#listen();
    return answer;
  }

  /** The prediction: a probability, a number, or with many classes the likeliest label. */
  async predict(record, { outcomeId } = {}) {
    const { prediction, label, task } = await this.ask(record, ...(outcomeId ? ["outcome_id", outcomeId] : []));
    return task === "multiclass" ? label : prediction;
  }

  /** What each feature adds to the score, the largest first. */
  async explain(record) {
    const { contributions } = await this.ask(record, "explain", 1);
    return contributions.map(([name, value, mean, weight, contribution]) => ({ name, value, mean, weight, contribution }));
  }

  async #listen() {
    if (this.#listening) return;
    this.#listening = true;
    try {
      while (this.#pending.size) {
        const popped = await this.replies.send("BLPOP", this.reply, 1);
        const reply = popped && JSON.parse(popped[1]);
        const asked = reply && this.#pending.get(reply.id);
        if (asked && "error" in reply) asked.reject(new Error(reply.error));
        else if (asked) asked.resolve(reply);
      }
    } catch (error) {
      for (const { reject } of this.#pending.values()) reject(error);
    } finally {
      this.#listening = false;
    }
  }

  close() {
    for (const { socket } of [this.commands, this.replies]) socket.end();
  }
}
