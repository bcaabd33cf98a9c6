// Requests to the API. Ids are strings here; only JSON bodies distinguish integers from strings.

const STORED_KEY = "halfstep-key";
const UNKNOWN_KEY = "The server does not accept this key. Check it, or ask the server's operator for another.";

/** An error whose message is shown on the page. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let promptForKey = async () => null;
let prompting = null;
let described = null;

/** Set the function that asks for an API key; it resolves to null if none is given. */
export function onKeyNeeded(prompt) {
  promptForKey = prompt;
}

/** Return the API key of this tab, or null. */
export function storedKey() {
  return sessionStorage.getItem(STORED_KEY);
}

/** Ask for an API key, and return whether one was given. */
export async function askForKey(reason) {
  prompting ??= promptForKey(reason).finally(() => (prompting = null));
  const key = await prompting;
  if (key === null) return false;
  sessionStorage.setItem(STORED_KEY, key);
  return true;
}

/** Return a path with encoded ids: path`v1/users/${user}/history`. */
export function path(parts, ...ids) {
  return String.raw({ raw: parts }, ...ids.map((id) => encodeURIComponent(id)));
}

/** Send a request, and return the answer. */
export async function call(url, { method = "GET", query = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null);
  const target = given.length ? `${url}?${new URLSearchParams(given)}` : url;
  for (;;) {
    const key = storedKey();
    const response = await send(target, { method, body, signal, key });
    if (response.ok) return parse(await response.text());
    const error = new ApiError(response.status, await messageOf(response));
    if (response.status !== 401) throw error;
    const isReplaced = storedKey() !== key; // by another request that was answered 401
    if (!isReplaced && !(await askForKey(key === null ? null : UNKNOWN_KEY))) throw error;
  }
}

async function send(target, { method, body, signal, key }) {
  const headers = {};
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(target, {
      method, headers, signal, credentials: "omit", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server is not responding. Check that it is running, then try again.");
  }
}

/** Return the error message of a response as a sentence. */
async function messageOf(response) {
  let detail = `The server answered with status ${response.status}`;
  try {
    const { errors = [], detail: stated } = await response.json();
    detail = (errors.length === 1 ? errors[0].message : stated) || detail;
  } catch {
    // the body is not JSON, for example from a proxy
  }
  return `${detail[0].toUpperCase()}${detail.slice(1)}.`;
}

/** Parse JSON; integers that a JavaScript number cannot represent become strings. */
function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    Number.isInteger(value) && !Number.isSafeInteger(value) && context ? context.source : value,
  );
}

/** Return the description of the served model. */
export async function model() {
  described ??= call("v1/model").catch((error) => {
    described = null;
    throw error;
  });
  return described;
}

/** Return an id for a JSON body, of the type of the ids of the model. */
export function bodyId(id, kind) {
  if (kind === "string") return String(id);
  return JSON.rawJSON && !Number.isSafeInteger(Number(id)) ? JSON.rawJSON(String(id)) : Number(id);
}

/** Return a random id for an event; crypto.randomUUID is missing without HTTPS. */
export function newEventId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return a function that runs tasks, with a limit on how many run at the same time. */
export function limited(most) {
  const waiting = [];
  let running = 0;
  const next = () => {
    while (running < most && waiting.length) {
      running += 1;
      waiting.shift()().finally(() => {
        running -= 1;
        next();
      });
    }
  };
  return (task) => new Promise((resolve, reject) => {
    waiting.push(() => task().then(resolve, reject));
    next();
  });
}
