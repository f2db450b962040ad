// Maps of a disk: a bar as long as the disk, in which is marked what is allocated, or has changed.

import { at, bytes, draw, el, many } from "/dom.js";

// How full a cell is, in four steps: a little is still to be seen.
const STEPS = 4;

// A map as a drawing that tells, under the pointer and by the arrow keys, what is at each place. `what` is "allocated" or
// "changed", `name` what it is a map of.
export function bar(map, disk, what, name) {
  const count = map.cells.length;
  const marks = runs(map.cells, disk).map(({ from, to, step }) =>
    draw(`rect.step${step}`, { x: from, y: 0, width: to - from, height: 1 }));
  const cursor = draw("rect.cursor", { x: 0, y: 0, width: Math.max(1, count / 256), height: 1, visibility: "hidden" });
  const svg = draw(`svg.map.${what}`, {
    viewBox: `0 0 ${count} 1`, preserveAspectRatio: "none", role: "img", tabindex: 0, "data-focus": `${disk.key} ${name}`,
    "aria-label": `${name}: ${sum(map, what)}. ${places(map, disk)}`, "data-bytes": map.bytes, "data-areas": map.areas,
  }, marks, cursor);
  let index = 0;
  const tell = () => {
    cursor.setAttribute("x", index);
    cursor.setAttribute("visibility", "visible");
    const box = svg.getBoundingClientRect();
    tip(cellText(map, disk, index, what), box.left + ((index + 0.5) / count) * box.width, box.top);
  };
  const leave = () => {
    cursor.setAttribute("visibility", "hidden");
    tip(null);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    index = Math.min(count - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * count)));
    tell();
  });
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 16 : 1;
    const to = { ArrowLeft: index - step, ArrowRight: index + step, Home: 0, End: count - 1 }[event.key];
    if (event.key === "Escape") leave();
    if (to === undefined) return;
    index = Math.min(count - 1, Math.max(0, to));
    tell();
    svg.setAttribute("aria-description", cellText(map, disk, index, what));
    event.preventDefault();
  });
  return svg;
}

export const sum = (map, what) => (map.bytes ? `${bytes(map.bytes)} ${what} in ${many(map.areas, "area")}` : `nothing ${what}`);

// The offsets under the bars.
export function axis(disk) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", null, part ? bytes(Math.round(disk.capacity * part)) : "0"));
  return el("div.axis", { "aria-hidden": "true" }, ticks);
}

function size(disk, index) {
  return Math.min(disk.cell, disk.capacity - index * disk.cell);
}

function cellText(map, disk, index, what) {
  const from = index * disk.cell;
  const whole = size(disk, index);
  const there = map.cells[index];
  const text = there === 0 ? `nothing ${what}` : there === whole ? `all ${what}` : `${bytes(there)} ${what}`;
  return `${bytes(from)} to ${bytes(from + whole)}: ${text}`;
}

function places(map, disk) {
  const found = runs(map.cells.map((there) => (there ? disk.cell : 0)), { ...disk, capacity: map.cells.length * disk.cell });
  const shown = found.slice(0, 5).map(({ from, to }) =>
    `${bytes(from * disk.cell)} to ${bytes(Math.min(to * disk.cell, disk.capacity))}`);
  return shown.join(", ") + (found.length > shown.length ? " and more" : "");
}

// Neighbours that are equally full, as one.
function runs(cells, disk) {
  const found = [];
  cells.forEach((there, index) => {
    if (!there) return;
    const step = Math.max(1, Math.ceil((there / size(disk, index)) * STEPS));
    const last = found.at(-1);
    if (last && last.to === index && last.step === step) last.to = index + 1;
    else found.push({ from: index, to: index + 1, step });
  });
  return found;
}

// What is under the pointer, beside it.
export function tip(text, x, y) {
  const element = at("tip");
  element.hidden = !text;
  if (!text) return;
  element.textContent = text;
  const width = element.offsetWidth;
  element.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, x - width / 2))}px`;
  element.style.top = `${y - element.offsetHeight - 8}px`;
}
