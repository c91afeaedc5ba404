// Requests to the server, with the token that was entered; it is kept in sessionStorage, and in no URL.

import { el } from "./dom.js";

const KEY = "learner token";
let asking = null;

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function get(path) {
  return request(path, {});
}

export async function post(path, body) {
  return request(path, { method: "POST", body, headers: { "content-type": "application/json" } });
}

// What was asked for, or the refusal where the token is not for it: then the page goes on without.
export const ifAllowed = (promise) => promise.catch((error) => {
  if (error.status !== 403) throw error;
  return error;
});

export const modelPath = (model) => `models/${encodeURIComponent(model)}`;

async function request(path, options) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
    let response, data;
    try {
      response = await fetch(path, { ...options, headers });
      data = await response.json();
    } catch {
      throw new Refused(0, response ? `server's answer can't be read (status ${response.status})` : "server can't be reached, trying again");
    }
    if (response.ok) return data;
    if (response.status !== 401) throw new Refused(response.status, data.error ?? `server answered with status ${response.status}`);
    if (sessionStorage.getItem(KEY) === token) await (asking ??= askForToken(token ? data.error : null).finally(() => (asking = null)));
  }
}

// Ask for a token once, however many requests wait for it.
function askForToken(error) {
  return new Promise((resolve) => {
    const field = el("input", { type: "password", autocomplete: "off", required: true, name: "token" });
    const dialog = el(
      "dialog", { "aria-labelledby": "token-title", class: "card", oncancel: (event) => event.preventDefault() },
      el("h2", { id: "token-title" }, "This server asks for a token"),
      error && el("p", { class: "error", role: "alert" }, error),
      el("form", { class: "stack", onsubmit: (event) => {
        event.preventDefault();
        sessionStorage.setItem(KEY, field.value.trim());
        dialog.remove();
        showForget();
        resolve();
      } },
      el("label", null, "Token", field),
      el("p", { class: "soft" }, "It is kept until this tab is closed."),
      el("button", { class: "main" }, "Use it")),
    );
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}

export function showForget() {
  const button = document.getElementById("forget");
  button.hidden = !sessionStorage.getItem(KEY);
  button.onclick = () => {
    sessionStorage.removeItem(KEY);
    location.reload();
  };
}
