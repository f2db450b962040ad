// The small things that every part of the page needs: elements, numbers for people, and questions to the control port.

// An element: el("p.note", {title: "…"}, "text", child). Text is always text, whatever is in it. A listener is a property such as
// onclick; what is null or false is left out.
export function el(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  return fill(document.createElement(tag), classes, attributes, children);
}

// The same for drawings.
export function draw(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), classes, attributes, children);
}

function fill(element, classes, attributes, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const at = (id) => document.getElementById(id);

// What the pointer is pressed on: a click is one only if both its ends meet the same element.
let pressed = null;
addEventListener("pointerdown", (event) => { pressed = event.target; }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => { pressed = null; }), true);

export const isHeld = (element) => pressed !== null && element.contains(pressed);

// Puts something else into an element, unless it would look the same. What is open stays open, what was typed stays there, and
// what has the focus has it again: all by names that outlast the elements, in data-open and data-focus. Answers whether it did.
export function show(element, state, make) {
  const text = JSON.stringify(state);
  if (element.shownState === text || isHeld(element)) return false;
  element.shownState = text;
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const open = new Set([...element.querySelectorAll("details[open][data-open]")].map((found) => found.dataset.open));
  const typed = new Map([...element.querySelectorAll("input[data-focus]")].map((found) => [found.dataset.focus, found.value]));
  element.replaceChildren(...[make()].flat(Infinity).filter(Boolean));
  for (const details of element.querySelectorAll("details[data-open]")) details.open = open.has(details.dataset.open);
  for (const input of element.querySelectorAll("input[data-focus]")) input.value = typed.get(input.dataset.focus) ?? input.value;
  if (focused) [...element.querySelectorAll("[data-focus]")].find((found) => found.dataset.focus === focused)?.focus();
  return true;
}

// Asks the control port. An error has the words of the answer.
export async function ask(method, path, body) {
  const request = { method, headers: {} };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  const answer = await fetch(path, request);
  const told = await answer.json();
  if (!answer.ok) throw new Refusal(told.error ?? `status ${answer.status}`, answer.status);
  return told;
}

export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function bytes(count) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let shown = count;
  while (shown >= 1024 && unit < units.length - 1) {
    shown /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(shown) ? shown : shown.toFixed(shown < 10 ? 2 : 1)} ${units[unit]}`;
}

export const number = (count) => count.toLocaleString("en");

export const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return many(Math.floor(seconds / 86400), "day");
}

// A moment of the server, in its own time, which is UTC.
export const moment = (text) => `${text.slice(0, 10)} ${text.slice(11, 19)}`;
export const time = (text) => text.slice(11, 19);
