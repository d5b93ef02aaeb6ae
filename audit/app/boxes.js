// The picture, and boxes drawn on it with mouse, finger or keyboard. The page calls this once, with
// its own `element`, `props`, `watch`. Texts are only ever set as text, never as markup; those in the
// visitor's language come as `props.words`.
const stage = element.querySelector(".stage"), image = stage.querySelector("img");
const list = element.querySelector("ol"), size = element.querySelector(".size");
const SIDES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const within = v => Math.min(1, Math.max(0, v));
const say = (word, values) => props.words[word].replace(/\{(\w+)\}/g, (place, name) => values?.[name] ?? place);
let boxes = [], held = null;

const make = (tag, set = {}) => Object.assign(document.createElement(tag), set);
const pixels = b => b.map((v, i) => Math.round(v * (i % 2 ? props.picture.height : props.picture.width)));
const extent = b => { const [l, t, r, d] = pixels(b.box); return `${l}–${r} × ${t}–${d}`; };

function save() { props.value = boxes.map(b => ({ ...b, box: [...b.box] })); }

function place(node, b) {
  const [l, t, r, d] = b.box;
  Object.assign(node.style, { left: `${100 * l}%`, top: `${100 * t}%`, width: `${100 * (r - l)}%`, height: `${100 * (d - t)}%` });
  node.setAttribute("aria-label", say("box", { name: b.name || say("unnamed"), extent: extent(b) }));
}

function shift(b, x, y) {
  const [l, t, r, d] = b.box;
  x = Math.min(1 - r, Math.max(-l, x)); y = Math.min(1 - d, Math.max(-t, y));
  b.box = [l + x, t + y, r + x, d + y];
}

function name() {
  for (let number = 1; ; number++) {
    const free = say("region", { number });
    if (!boxes.some(b => b.name === free)) return free;
  }
}

function remove(b) { boxes = boxes.filter(other => other !== b); draw(); save(); }

function row(b, number) {
  const item = make("li"), where = make("span", { className: "where", textContent: extent(b) });
  const nameField = make("input", { type: "text", value: b.name, maxLength: 60 });
  nameField.setAttribute("aria-label", say("name", { number }));
  nameField.oninput = () => { b.name = nameField.value; b.tag.textContent = b.name; save(); };
  const wanted = make("select");
  wanted.setAttribute("aria-label", say("wanted", { number }));
  for (const value of ["look", "avoid"])
    wanted.append(make("option", { value, textContent: say(value), selected: b.wanted === value }));
  wanted.onchange = () => { b.wanted = wanted.value; b.node.classList.toggle("avoid", b.wanted === "avoid"); save(); };
  const removeButton = make("button", { type: "button", textContent: say("remove") });
  removeButton.setAttribute("aria-label", say("remove_region", { number }));
  removeButton.onclick = () => remove(b);
  b.where = where;
  item.append(nameField, removeButton, wanted, where);
  return item;
}

function draw() {
  stage.querySelectorAll(".box").forEach(node => node.remove());
  list.replaceChildren();
  boxes.forEach((b, i) => {
    const node = make("div", { className: "box", tabIndex: 0 }), tag = make("span", { textContent: b.name });
    node.setAttribute("role", "group");
    node.classList.toggle("avoid", b.wanted === "avoid");
    node.append(tag, ...["nw", "ne", "sw", "se"].map(at => make("i", { className: at })));
    // These are not enumerable, so that they are not sent: JSON cannot hold elements.
    for (const [key, value] of Object.entries({ node, tag, where: null }))
      Object.defineProperty(b, key, { value, writable: true, configurable: true, enumerable: false });
    node.onkeydown = event => keyed(event, b);
    node.addEventListener("pointerdown", event => grab(event, b));
    place(node, b);
    stage.append(node);
    list.append(row(b, i + 1));
  });
}

function keyed(event, b) {
  if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); return remove(b); }
  const step = SIDES[event.key];
  if (!step) return;
  event.preventDefault();
  const [x, y] = step.map(s => s * 0.01);
  if (event.shiftKey) {
    const [l, t, r, d] = b.box;
    b.box = [l, t, Math.max(l + 0.01, within(r + x)), Math.max(t + 0.01, within(d + y))];
  } else shift(b, x, y);
  place(b.node, b); b.where.textContent = extent(b); save();
}

function at(event) {
  const frame = stage.getBoundingClientRect();
  return [within((event.clientX - frame.left) / frame.width), within((event.clientY - frame.top) / frame.height)];
}

function grab(event, b) {
  event.stopPropagation(); event.preventDefault();
  b.node.focus();
  const [l, t, r, d] = b.box, corner = event.target.className;
  held = corner.length === 2
    ? { b, from: [corner[1] === "w" ? r : l, corner[0] === "n" ? d : t] }
    : { b, last: at(event) };
  stage.setPointerCapture(event.pointerId);
}

stage.addEventListener("pointerdown", event => {
  if (event.button || !props.picture.src) return;
  event.preventDefault();
  const from = at(event), b = { name: name(), wanted: "look", box: [...from, ...from] };
  boxes.push(b); draw();
  held = { b, from, fresh: true };
  stage.setPointerCapture(event.pointerId);
});

stage.addEventListener("pointermove", event => {
  if (!held) return;
  const { b, from, last } = held, to = at(event);
  if (from) b.box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
  else { shift(b, to[0] - last[0], to[1] - last[1]); held.last = to; }
  place(b.node, b); b.where.textContent = extent(b);
});

function drop() {
  if (!held) return;
  const { b, fresh } = held, [l, t, r, d] = b.box;
  held = null;
  // A click without a drag makes no box.
  if (fresh && (r - l < 0.01 || d - t < 0.01)) return remove(b);
  save();
  if (fresh) { const nameField = list.lastElementChild.querySelector("input"); nameField.focus(); nameField.select(); }
}
stage.addEventListener("pointerup", drop);
stage.addEventListener("pointercancel", drop);

element.querySelector(".add").onclick = () => {
  boxes.push({ name: name(), wanted: "look", box: [0.35, 0.35, 0.65, 0.65] });
  draw(); save();
  boxes[boxes.length - 1].node.focus();
};

function show() {
  const { src, width, height } = props.picture;
  element.querySelector(".boxes").hidden = !src;
  if (src) image.src = src;
  // Chinese has no space between sentences.
  size.textContent = src ? say("size", { width, height }).replace(/\.$/, ". ") : "";
  boxes = (props.value || []).map(b => ({ ...b, box: [...b.box] }));
  draw();
}
image.alt = say("picture");
list.setAttribute("aria-label", say("regions"));
element.querySelector(".hint").textContent = say("hint");
element.querySelector(".add").textContent = say("add");
watch("picture", show);
show();
