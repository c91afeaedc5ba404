// The page: which view is shown, and when the server is read again.

import { announce, ago } from "./dom.js";
import { modelView } from "./model.js";
import { modelsView } from "./models.js";
import { showForget } from "./server.js";

const EVERY_MS = 2000;
const main = document.getElementById("main");
const health = document.getElementById("health");
let view, timer, readAt, wasAway = false;

function open() {
  const model = location.hash.match(/^#\/models\/(.+)$/)?.[1];
  if (location.hash && !location.hash.startsWith("#/")) return; // the skip link
  view?.close?.();
  try {
    view = model ? modelView(decodeURIComponent(model)) : modelsView();
  } catch {
    view = modelsView();
  }
  document.title = view.title;
  main.replaceChildren(...view.parts);
  scrollTo(0, 0);
  if (readAt) main.focus({ preventScroll: true });
  read();
}

async function read() {
  clearTimeout(timer);
  const mine = view;
  if (!document.hidden) {
    try {
      await mine.read();
      readAt = Date.now();
      if (wasAway) announce("The server is back.");
      wasAway = false;
    } catch (error) {
      if (!("status" in error)) console.error(error);
      if (!wasAway) announce(error.message);
      wasAway = error.message;
    }
  }
  if (mine === view) timer = setTimeout(read, EVERY_MS);
}

function tell() {
  health.classList.toggle("bad", Boolean(wasAway));
  const when = readAt ? `read ${ago((Date.now() - readAt) / 1000)}` : "";
  health.textContent = wasAway ? `${wasAway}${when && `; ${when}`}` : when || "connecting …";
}

addEventListener("hashchange", open);
document.addEventListener("visibilitychange", () => document.hidden || read());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(tell, 500);
showForget();
open();
