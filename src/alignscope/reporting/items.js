(() => {
  "use strict";
  const AT_ONCE = 50;
  const WORDS = { right: "✓ right", wrong: "✗ wrong", tie: "= tie", unscored: "unscored" };
  const data = JSON.parse(document.getElementById("items-data").textContent);
  const sources = data.images.map((_, place) => place in data.pictures ? "data:image/png;base64," + data.pictures[place]
    : place in data.thumbnails ? "thumbnails/" + data.thumbnails[place] : "");
  const lines = data.lines.map(([item, image, kind, caption, foil, captionScore, foilScore, outcome, note]) => ({
    item, image: data.images[image], source: sources[image], kind: data.kinds[kind][0],
    kindWords: data.kinds[kind][1], caption: data.captions[caption], foil, captionScore, foilScore, outcome, note,
    difference: captionScore === null || foilScore === null ? null : captionScore - foilScore,
  }));
  for (const line of lines)
    line.text = [line.item, line.image, line.kind, line.kindWords, line.caption, line.foil, line.note].join("\n").toLowerCase();

  const find = (name) => document.getElementById("items-" + name);
  const controls = { kind: find("kind"), outcome: find("outcome"), image: find("image"), search: find("search") };
  const body = find("rows"), status = find("status");
  const heads = [...document.querySelectorAll("#items thead button")];
  let chosen = lines, order = { by: "difference", falls: false }, first = 0;

  const filtered = () => {
    const wanted = controls.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { kind, outcome, image } = Object.fromEntries(Object.entries(controls).map(([name, one]) => [name, one.value.trim()]));
    return lines.filter((line) =>
      (!kind || line.kind === kind) && (!outcome || line.outcome === outcome) && (!image || line.image === image) &&
      wanted.every((word) => line.text.includes(word)));
  };

  const compared = (one, other) => {
    const a = one[order.by], b = other[order.by];
    const isNone = (value) => value === null || value === "";
    if (isNone(a) || isNone(b)) return isNone(a) - isNone(b);  // what has no value comes last either way
    return (a < b ? -1 : a > b ? 1 : 0) * (order.falls ? -1 : 1);
  };

  const made = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const cell = (label, className, ...children) => {
    const found = made("td", { className }, ...children);
    found.setAttribute("role", "cell");
    found.dataset.label = label;
    return found;
  };

  // Words that differ in their place, or between the shared beginning and end where the lengths differ.
  const marked = (text, other, className) => {
    const words = text.split(/(?<=\s)/), others = other.split(/(?<=\s)/), last = (list, i) => list[list.length - 1 - i];
    const same = (a, b) => a !== undefined && b !== undefined && a.trim().toLowerCase() === b.trim().toLowerCase();
    const least = Math.min(words.length, others.length);
    let start = 0, end = 0;
    while (start < least && same(words[start], others[start])) start++;
    while (end < least - start && same(last(words, end), last(others, end))) end++;
    const differs = (i) => words.length === others.length ? !same(words[i], others[i]) : i >= start && i < words.length - end;
    const pieces = [];
    for (let i = 0; i < words.length; i++) {
      if (!differs(i)) pieces.push(words[i]);
      else {
        let run = words[i];
        while (i + 1 < words.length && differs(i + 1)) run += words[++i];
        pieces.push(made("mark", { className, textContent: run.trimEnd() }), run.slice(run.trimEnd().length));
      }
    }
    return pieces;
  };

  const text = (role, line, mine, other, mark) => made("p", { className: role },
    made("small", { textContent: role + " " }), ...(line[other] ? marked(line[mine], line[other], mark) : [line[mine]]));

  const number = (value) => value === null ? "none" : Math.abs(value) < 0.01 && value !== 0 ? value.toPrecision(2) : value.toFixed(3);

  const imageCell = (line) => {
    const found = cell("image", "image");
    if (line.source) {
      const picture = made("img", { src: line.source, alt: "", width: 64, height: 64, loading: "lazy" });
      picture.addEventListener("error", () => picture.remove());  // the folder is not beside the page
      found.append(picture);
    }
    if (line.image) {
      const only = made("button", { type: "button", textContent: line.image, title: "only this image" });
      only.addEventListener("click", () => { controls.image.value = line.image; changed(); controls.image.focus(); });
      found.append(only);
    }
    if (line.item !== line.image) found.append(made("small", { textContent: line.item }));
    return found;
  };

  const row = (line) => {
    const texts = cell("captions", "texts");
    if (line.caption || line.foil)
      texts.append(text("right", line, "caption", "foil", "ours"), text("wrong", line, "foil", "caption", "theirs"));
    if (line.note) texts.append(made("p", { className: "remark", textContent: line.note }));
    const found = made("tr", {},
      imageCell(line), cell("kind", "kind", line.kindWords), texts,
      cell("right", "num own", number(line.captionScore)), cell("wrong", "num other", number(line.foilScore)),
      cell("difference", "num apart", number(line.difference)), cell("outcome", "outcome " + line.outcome, WORDS[line.outcome]));
    found.setAttribute("role", "row");
    return found;
  };

  const drawn = () => {
    body.replaceChildren(...chosen.slice(first, first + AT_ONCE).map(row));
    const end = Math.min(first + AT_ONCE, chosen.length);
    status.textContent = chosen.length ? `${first + 1} to ${end} of ${chosen.length} choices` : "No choice fits: take a filter or word away.";
    find("previous").setAttribute("aria-disabled", String(first === 0));
    find("next").setAttribute("aria-disabled", String(end >= chosen.length));
    for (const head of heads) {
      const isOrder = head.dataset.by === order.by;
      head.parentElement.setAttribute("aria-sort", !isOrder ? "none" : order.falls ? "descending" : "ascending");
    }
  };

  const changed = () => { chosen = filtered().sort(compared); first = 0; drawn(); };
  const turned = (step) => {
    if (first + step < 0 || first + step >= chosen.length) return;
    first += step;
    drawn();
  };

  for (const control of Object.values(controls)) control.addEventListener("input", changed);
  for (const head of heads)
    head.addEventListener("click", () => {
      order = { by: head.dataset.by, falls: order.by === head.dataset.by && !order.falls };
      changed();
    });
  find("previous").addEventListener("click", () => turned(-AT_ONCE));
  find("next").addEventListener("click", () => turned(AT_ONCE));
  find("clear").addEventListener("click", () => {
    for (const control of Object.values(controls)) control.value = "";
    changed();
  });
  find("browser").hidden = false;
  changed();
})();
