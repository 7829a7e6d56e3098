// Sends a chosen file in pieces, and goes on where it was after a lost connection or on another day.
const FIRST_BYTES = 256 * 1024;
const MIN_BYTES = 64 * 1024;
const MAX_BYTES = 4 * 1024 * 1024;
// A piece takes about so long: the gateway gives up on slower ones.
const TARGET_MS = 2000;
const MAX_PAUSE_MS = 20000;

const form = document.querySelector("[data-upload]");
form?.addEventListener("submit", (event) => {
  const file = form.elements.file.files[0];
  if (!file) return;
  event.preventDefault();
  send(file).catch((error) => show(error.message));
});

const button = form?.querySelector("[data-upload-stop]");
let isStopped = false;
button?.addEventListener("click", () => (isStopped = true));

async function send(file) {
  isStopped = false;
  button.hidden = false;
  form.querySelector("[data-upload-state]").hidden = false;
  form.querySelector("button:not([type])").disabled = true;
  try {
    const path = await begin(file);
    await sendPieces(file, path);
  } finally {
    button.hidden = true;
    form.querySelector("button:not([type])").disabled = false;
  }
}

// The path of the upload: one that was begun before, or a new one.
async function begin(file) {
  const key = `upload ${file.name} ${file.size} ${file.lastModified}`;
  const known = form.dataset.uploadPath ?? localStorage.getItem(key);
  if (form.dataset.uploadSize && Number(form.dataset.uploadSize) !== file.size) {
    throw new Error("This is another file: its size differs. Choose the one that you began with.");
  }
  if (known) {
    const response = await request(`${known}/content`);
    if (response.ok) return known;
  }
  const { form_token, mends_job, mends_import } = Object.fromEntries(new FormData(form));
  const fields = new URLSearchParams({ name: file.name, size: file.size, form_token, mends_job, mends_import });
  const response = await request("/portal/files/uploads", { method: "POST", body: fields });
  const answer = await read(response);
  if (!response.ok) throw new Error(capitalise(answer.detail ?? "The file was not taken; reload the page and try again."));
  localStorage.setItem(key, answer.path);
  return answer.path;
}

async function sendPieces(file, path) {
  let { offset } = await read(await request(`${path}/content`));
  let bytes = FIRST_BYTES;
  let failures = 0;
  while (offset < file.size) {
    if (isStopped) {
      show(`Paused at ${percent(offset, file.size)}. Press Upload to go on; this file is remembered.`);
      return;
    }
    show(`${percent(offset, file.size)} of ${file.name}`, offset / file.size);
    const began = performance.now();
    const response = await put(path, offset, file.slice(offset, offset + bytes));
    const answer = response && (await read(response));
    if (response?.ok || response?.status === 409) {
      offset = answer.offset;
      failures = 0;
      bytes = adapt(bytes, performance.now() - began);
    } else if (!response || response.status >= 500 || response.status === 408 || response.status === 429) {
      failures += 1;
      bytes = Math.max(bytes / 2, MIN_BYTES);
      show(`The connection is interrupted at ${percent(offset, file.size)}; trying again.`, offset / file.size);
      await pause(Math.min(500 * 2 ** failures, MAX_PAUSE_MS));
    } else {
      throw new Error(capitalise(answer.detail ?? "The upload cannot go on; reload the page and choose the file again."));
    }
  }
  show("Uploaded.", 1);
  location.assign(path);
}

function put(path, offset, piece) {
  const headers = { "X-Form-Token": form.elements.form_token.value, "Content-Type": "application/octet-stream" };
  return request(`${path}/content?offset=${offset}`, { method: "PUT", body: piece, headers }).catch((error) => {
    if (error instanceof SignedOutError) throw error;
    return null;
  });
}

class SignedOutError extends Error {}

async function request(url, options = {}) {
  const response = await fetch(url, { ...options, redirect: "manual" });
  if (response.type === "opaqueredirect") {
    throw new SignedOutError("You are signed out. Sign in again and choose the file once more; it goes on where it was.");
  }
  return response;
}

async function read(response) {
  return response.headers.get("Content-Type")?.includes("json") ? response.json() : {};
}

function adapt(bytes, tookMs) {
  const wanted = (bytes * TARGET_MS) / Math.max(tookMs, 1);
  return Math.round(Math.min(Math.max(wanted, bytes / 2, MIN_BYTES), bytes * 2, MAX_BYTES));
}

const percent = (part, whole) => `${Math.floor((100 * part) / whole)} %`;
const capitalise = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function show(text, part) {
  form.querySelector("[data-upload-state]").hidden = false;
  form.querySelector("[data-upload-text]").textContent = text;
  if (part !== undefined) form.querySelector("progress").value = part;
}
