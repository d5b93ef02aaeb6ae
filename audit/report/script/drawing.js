  const byId = new Map(data.cases.map((c) => [c.id, c]));
  const articles = [...document.querySelectorAll("article[data-case]")];

  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const tables = Object.fromEntries(Object.entries(data.colours).map(([n, t]) => [n, decode(t)]));
  const show = { colours: "viridis", opacity: 0.8, smooth: true, outlines: true, shared: false };
  const images = new Map();

  function picture(key) {
    if (!images.has(key)) {
      images.set(key, new Promise((done) => {
        const image = new Image();
        image.onload = () => done(image);
        image.src = data.images[key];
      }));
    }
    return images.get(key);
  }

  function element(name, options = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  // --- maps over pictures -------------------------------------------------------------------------

  function cells(fill, rows, cols) {
    const small = element("canvas", { width: cols, height: rows });
    const pen = small.getContext("2d");
    const pixels = pen.createImageData(cols, rows);
    fill(pixels.data);
    pen.putImageData(pixels, 0, 0);
    return small;
  }

  const values = new Map();
  function strengths(map) {
    if (!values.has(map)) values.set(map, decode(map.data));
    return values.get(map);
  }

  function heat(map, [rows, cols], top = map.top) {
    const table = tables[show.colours];
    const shares = strengths(map);
    // Maps to compare are drawn on one scale, so that paler means weaker.
    const scale = top ? map.peak / top : 1;
    return cells((out) => {
      for (let i = 0; i < shares.length; i += 1) {
        const v = Math.round(shares[i] * scale);
        out.set(table.subarray(3 * v, 3 * v + 3), 4 * i);
        out[4 * i + 3] = 255 * show.opacity * (v / 255) ** 0.8;
      }
    }, rows, cols);
  }

  const MORE = [178, 24, 43];
  const LESS = [33, 102, 172];
  const opaque = (part) => 0.95 * Math.sqrt(part);

  // The change of each cell, and what gets full colour: the largest loss and the largest gain, each
  // at least a sixth of the other, so that a loss spread over many cells is seen beside a gain in a
  // few. Neither is finer than a tenth of the larger map, or noise would look like a change.
  function moves(now, before) {
    const [p, q] = [strengths(now), strengths(before)];
    const found = Array.from(p, (v, i) => (v * now.peak - q[i] * before.peak) / 255);
    const ends = [Math.max(0, ...found.map((v) => -v)), Math.max(0, ...found)];
    const least = Math.max(0.1 * Math.max(now.peak, before.peak), Math.max(...ends) / 6, 1e-12);
    return [found, ...ends.map((end) => Math.max(end, least))];
  }

  function change(now, before, rows, cols) {
    const [found, loss, gain] = moves(now, before);
    return cells((out) => found.forEach((move, i) => {
      out.set(move > 0 ? MORE : LESS, 4 * i);
      out[4 * i + 3] = 255 * opaque(move > 0 ? move / gain : -move / loss);
    }), rows, cols);
  }

  // The colours of a difference from the largest loss to the largest gain, with what they stand for.
  function scaleOf(now, before) {
    const [, loss, gain] = moves(now, before);
    const stops = [-1, -0.5, -0.25, -0.1, -0.02, 0, 0.02, 0.1, 0.25, 0.5, 1].map((t) => (
      `rgb(${(t > 0 ? MORE : LESS).join(" ")} / ${opaque(Math.abs(t)).toFixed(3)}) ${(50 + 50 * t).toFixed(0)}%`));
    const points = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0);
    const bar = element("span", { className: "ramp" });
    bar.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
    return element("span", { className: "scale" }, `−${points(loss)}`, bar, t("+{gain} points a cell", { gain: points(gain) }));
  }

  // Left, top, width and height of the grid on a picture drawn at this size.
  function gridBox([left, top, right, bottom], width, height) {
    return [left * width, top * height, (right - left) * width, (bottom - top) * height];
  }

  // Draw what the model does not see pale and hatched: this looks like no part of a map.
  function hatch(pen, image, seen, width, height, zoom) {
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width, height);
    pen.rect(...seen);
    pen.clip("evenodd");
    pen.filter = "grayscale(1)";
    pen.drawImage(image, 0, 0, width, height);
    pen.filter = "none";
    pen.fillStyle = "rgb(226 226 226 / 70%)";
    pen.fillRect(0, 0, width, height);
    pen.strokeStyle = "rgb(165 165 165)";
    pen.lineWidth = 1 / zoom;
    pen.beginPath();
    for (let at = 0; at < width + height; at += Math.max(6, width / 40)) { pen.moveTo(at, 0); pen.lineTo(at - height, height); }
    pen.stroke();
    pen.strokeStyle = "rgb(70 70 70)";
    pen.lineWidth = 2 / zoom; // half of it is clipped away
    pen.strokeRect(...seen);
    pen.restore();
  }

  function draw(canvas, image, layer, one, view, { grey = false, until = 1, names = false } = {}) {
    const pen = canvas.getContext("2d");
    const { width, height } = canvas;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, width * until, height);
    pen.clip();
    pen.clearRect(0, 0, width, height);
    pen.translate(-view.x * width * (view.zoom - 1), -view.y * height * (view.zoom - 1));
    pen.scale(view.zoom, view.zoom);
    pen.filter = grey ? "grayscale(1)" : "none";
    pen.imageSmoothingEnabled = true;
    pen.drawImage(image, 0, 0, width, height);
    pen.filter = "none";
    if (grey) { // pale, so that both colours stand out from a dark picture too
      pen.fillStyle = "rgb(255 255 255 / 70%)";
      pen.fillRect(0, 0, width, height);
    }
    if (layer) {
      pen.imageSmoothingEnabled = show.smooth;
      pen.imageSmoothingQuality = "low";
      const seen = gridBox(one.view, width, height);
      pen.drawImage(layer, ...seen);
      if (!show.smooth) grid(pen, one.grid, seen, view.zoom);
      if (one.view[0] > 0 || one.view[1] > 0 || one.view[2] < 1 || one.view[3] < 1) hatch(pen, image, seen, width, height, view.zoom);
    }
    if (show.outlines) outlines(pen, one.regions, width, height, view.zoom, names);
    pen.restore();
  }

  function divide(canvas, at) {
    const pen = canvas.getContext("2d");
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      pen.fillStyle = colour;
      pen.fillRect(at * canvas.width - wide / 2, 0, wide, canvas.height);
    }
  }

  function grid(pen, [rows, cols], [x, y, width, height], zoom) {
    pen.strokeStyle = "rgb(255 255 255 / 35%)";
    pen.lineWidth = 1 / zoom;
    pen.beginPath();
    for (let c = 1; c < cols; c += 1) { pen.moveTo(x + (c * width) / cols, y); pen.lineTo(x + (c * width) / cols, y + height); }
    for (let r = 1; r < rows; r += 1) { pen.moveTo(x, y + (r * height) / rows); pen.lineTo(x + width, y + (r * height) / rows); }
    pen.stroke();
  }

  function outlines(pen, regions, width, height, zoom, names) {
    for (const [name, boxes] of Object.entries(regions)) {
      const colour = data.regions[name] ?? "#fff";
      for (const [left, top, right, bottom] of boxes) {
        for (const [ink, wide] of [["#000", 6], ["#fff", 4.5], [colour, 3]]) {
          pen.strokeStyle = ink;
          pen.lineWidth = wide / zoom;
          pen.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
        }
      }
    }
    if (!names) return;
    const size = 13 / zoom;
    pen.font = `600 ${size}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    for (const [name, boxes] of Object.entries(regions)) {
      if (!boxes.length) continue;
      const [left, top, , bottom] = boxes[0];
      const said = name.length > 24 ? `${name.slice(0, 23)}…` : name;
      const [wide, high] = [pen.measureText(said).width + 1.6 * size, 1.5 * size];
      const x = Math.max(0, Math.min(left * width, width - wide));
      // Above the box, or else below it, so that the name hides nothing of what is in the box.
      const [above, below] = [top * height - high, bottom * height];
      const y = above >= 0 ? above : below + high <= height ? below : top * height;
      pen.fillStyle = "rgb(255 255 255 / 90%)";
      pen.fillRect(x, y, wide, high);
      pen.fillStyle = data.regions[name] ?? "#fff";
      pen.fillRect(x, y, 0.55 * size, high);
      pen.fillStyle = "#1c2024";
      pen.fillText(said, x + 0.95 * size, y + high / 2);
    }
  }

  function canvasFor(one, wide, title) {
    const canvas = element("canvas", { width: wide, height: Math.max(1, Math.round((wide * one.size[1]) / one.size[0])) });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    return canvas;
  }

