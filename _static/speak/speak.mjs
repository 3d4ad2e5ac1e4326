// The page "Speak to the book": take a sound, ask the voters, show what they say. Nothing leaves the page.
// Nothing of the networks is fetched before the first press. Names and files go into the page as text, never as HTML.
import { RATE, decoded, logMel, recorded, trimmed, wav } from "./hearing.mjs";
import { sound as player } from "./player.mjs";
import { answer, facts as read, loaded, top, votes } from "./voters.mjs";

const SECONDS = 3, LONGEST = 30, HUSHED = 1e-3;  // of full scale: -60 dB
const WINDOW = 2, STEP = 1;  // seconds, for the emotion over time
const root = document.querySelector(".ser-speak"), $ = (query) => root.querySelector(query);
const status = $("[role=status]"), slider = $("[name=sure]"), buttons = () => root.querySelectorAll(".ways button, .ways input");
let facts = null, takes = [], taken = 0;

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};
const percent = (share) => `${Math.round(100 * share)}%`;
const tint = (label) => `color-mix(in srgb,${facts.colors[label] ?? "currentColor"} 65%,currentColor)`;
const both = (names) => names.join(" and ");

// Draws loudness above and the log-mel picture below, column by column.
function drawn(canvas, columns, share = 1) {
  const paint = canvas.getContext("2d"), ink = getComputedStyle(canvas).color.match(/[\d.]+/g).slice(0, 3).join();
  const wide = canvas.width, tall = canvas.height, each = (wide * share) / Math.max(columns.length, 1);
  paint.clearRect(0, 0, wide, tall);
  const high = Math.round(tall * 0.28), room = tall - high - 4;
  columns.forEach(({ mel, peak }, i) => {
    const x = Math.floor(i * each), width = Math.max(1, Math.floor((i + 1) * each) - x), loud = Math.min(1, 2 * peak) * high;
    paint.fillStyle = `rgb(${ink})`;
    paint.fillRect(x, (high - loud) / 2, width, Math.max(1, loud));
    mel.forEach((value, j) => {
      const above = Math.floor((j + 1) * room / mel.length), below = Math.floor(j * room / mel.length);
      paint.fillStyle = `rgba(${ink},${(0.95 * value ** 1.5).toFixed(3)})`;
      paint.fillRect(x, tall - above, width, above - below);
    });
  });
}

const columnsOf = (samples, rate) => {
  const hop = Math.round(rate / 100);
  return logMel(samples, rate).map((mel, i) => {
    let peak = 0;
    for (let k = i * hop; k < (i + 1) * hop; k++) peak = Math.max(peak, Math.abs(samples[k]));
    return { mel, peak };
  });
};

// What a sound must be before anybody is asked: else a sentence for the reader.
function heard(samples) {
  const seconds = samples.length / RATE, peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (!samples.length || peak < HUSHED) throw new Refusal("There is only silence in it. Come nearer, or choose another microphone, and try again.");
  const own = trimmed(samples);
  if (own.length < facts.shortest * RATE) throw new Refusal(`There is less than ${facts.shortest} s of sound in it. Say a whole sentence.`);
  if (seconds > LONGEST) throw new Refusal(`It lasts ${Math.round(seconds)} s, and ${LONGEST} s are the most. Choose a shorter piece.`);
  return own;
}
class Refusal extends Error {}

const REASONS = {
  NotAllowedError: "The microphone was refused. Allow it beside the address of this page, or choose a file.",
  NotFoundError: "No microphone was found. Plug one in, or choose a file.",
  NotReadableError: "The microphone stopped, or another program has it. Try again, or choose a file.",
  SecurityError: "A browser lends the microphone to https pages only, and this is none. Choose a file.",
  EncodingError: "This is no sound that your browser can read. Choose a WAV, MP3, OGG, FLAC or M4A file.",
};

// One sound from its bytes to its card. `get` returns the bytes, while the networks load.
async function take(name, get, meant = "") {
  buttons().forEach((button) => { button.disabled = true; });
  root.setAttribute("aria-busy", "true");
  try {
    const size = facts.voters.reduce((sum, voter) => sum + voter.bytes, 3.7e6) / 1e6;
    const ready = loaded(facts.voters, (count) => { root.dataset.loaded = count; });
    ready.catch(() => {});  // said below, once the sound is there
    const bytes = await get();
    if (+root.dataset.loaded !== facts.voters.length) status.textContent = `The ${facts.voters.length} networks are loading (${size.toFixed(0)} MB, once) …`;
    const samples = await decoded(bytes.slice(0)), own = heard(samples);
    const sessions = await ready.catch(() => { throw new Refusal("The networks could not be loaded. Is the connection gone? Try again."); });
    status.textContent = "The networks listen …";
    const answers = [];
    for (const session of sessions) answers.push(await answer(session, own));
    const one = { name: `Take ${++taken}: ${name}`, meant, samples: own, answers, vote: votes(answers), moments: [] };
    takes = [...takes.slice(-1), one];
    show();
    if (own.length > 2 * WINDOW * RATE) {
      for (let start = 0; start + WINDOW * RATE <= own.length; start += STEP * RATE) {
        const piece = own.slice(start, start + WINDOW * RATE), said = [];
        for (const session of sessions) said.push(await answer(session, piece));
        one.moments.push(votes(said).soft);
        await new Promise((next) => { setTimeout(next); });
      }
      show();
    }
  } catch (error) {
    status.textContent = error instanceof Refusal ? error.message : REASONS[error.name] ?? `That did not work (${error.message}). Load the page again.`;
  } finally {
    root.removeAttribute("aria-busy");
    buttons().forEach((button) => { button.disabled = false; });
  }
}

function verdict({ vote, answers, meant }) {
  const { labels } = facts, soft = top(vote.soft), sure = vote.soft[soft];
  const name = `${labels[soft]}, with ${percent(sure)}`;
  const first = sure < slider.value / 100 ? `Not sure. The nearest is ${name}.` : `The soft vote says ${name}.`;
  const tied = vote.tied.length > 1;
  const second = tied
    ? `The hard vote is a tie of ${both(vote.tied.map((label) => labels[label]))}, ${vote.most} of ${answers.length} each; the more probable of them is ${labels[vote.hard]}.`
    : `The hard vote says ${labels[vote.hard]}, ${vote.most} of ${answers.length}.`;
  return `${first} ${second}${meant ? ` It was meant to be ${meant}.` : ""}`;
}

function listened(samples, name) {
  const box = $("template").content.firstElementChild.cloneNode(true), audio = box.querySelector("audio");
  const heights = Array.from({ length: 60 }, (_, i) => {
    let peak = 0;
    for (let k = Math.floor(i * samples.length / 60); k < (i + 1) * samples.length / 60; k++) peak = Math.max(peak, Math.abs(samples[k]));
    return peak;
  });
  const most = Math.max(...heights);
  box.querySelector("path").setAttribute("d", heights.map((h, i) => `M${i} ${(10 - 9 * h / most).toFixed(1)}v${Math.max(18 * h / most, 0.3).toFixed(1)}`).join(""));
  box.dataset.seconds = samples.length / RATE;
  audio.setAttribute("aria-label", name);
  audio.src = URL.createObjectURL(new Blob([wav(samples, RATE)], { type: "audio/wav" }));
  player(box);
  return box;
}

function bars(shares) {
  const list = make("ul", { class: "soft" });
  facts.labels.forEach((label, i) => {
    const bar = make("span", { class: "bar", style: `--share:${shares[i]};color:${tint(label)}` });
    list.append(make("li", i === top(shares) ? { class: "top" } : {}, make("span", {}, label), bar, make("span", { class: "number" }, percent(shares[i]))));
  });
  return list;
}

function ballot({ answers }) {
  const body = make("tbody");
  facts.voters.forEach((voter, k) => {
    const shares = answers[k], says = facts.labels[top(shares)];
    const told = facts.labels.map((label, i) => `${label} ${percent(shares[i])}`).join(", ");
    const columns = make("span", { class: "columns", role: "img", "aria-label": told });
    shares.forEach((share, i) => columns.append(make("i", { style: `--share:${share};color:${tint(facts.labels[i])}` })));
    body.append(make("tr", {}, make("th", { scope: "row" }, voter.title), make("td", {}, columns), make("td", {}, `${says}, ${percent(Math.max(...shares))}`)));
  });
  const head = make("tr", {}, ...["voter", "its eight bars", "says"].map((word) => make("th", { scope: "col" }, word)));
  return make("table", {}, make("thead", {}, head), body);
}

function overTime({ moments }) {
  const strip = make("div", { class: "moments", "aria-hidden": "true" });
  moments.forEach((shares) => {
    const column = make("div");
    facts.labels.forEach((label, i) => column.append(make("i", { style: `flex-grow:${shares[i]};color:${tint(label)}` })));
    strip.append(column);
  });
  const said = moments.map((shares) => facts.labels[top(shares)]);
  const turns = said.flatMap((label, i) => (label === said[i - 1] ? [] : [`from ${i * STEP} s ${label}`]));
  return make("div", {}, make("p", {}, make("b", {}, "Over time"), `, soft vote of ${WINDOW} s each: ${turns.join(", ")}.`), strip);
}

function show() {
  const places = takes.map((one) => {
    if (!one.card) {
      const picture = make("canvas", { width: 600, height: 150, role: "img", "aria-label": "Loudness above, and below it the log-mel picture of the sound: time from left to right, high tones at the top" });
      one.card = make("section", { "aria-label": one.name }, make("p", {}, make("b", {}, one.name)), listened(one.samples, one.name), picture, make("p", { class: "verdict" }), bars(one.vote.soft), ballot(one));
      one.columns = columnsOf(one.samples, RATE);
    }
    if (one.moments.length && !one.timed) one.card.append(one.timed = overTime(one));
    one.card.querySelector(".verdict").textContent = verdict(one);
    return one.card;
  });
  $(".takes").replaceChildren(...places);
  takes.forEach((one) => drawn(one.card.querySelector("canvas"), one.columns));
  status.textContent = `${takes.at(-1).name}. ${verdict(takes.at(-1))}`;
}

function record() {
  const live = $("canvas.live"), columns = [];
  let left = new Float32Array(0);
  return take("your voice", async () => {
    status.textContent = "Asking for the microphone …";
    live.hidden = false;
    status.scrollIntoView({ block: "nearest" });
    try {
      return await recorded(SECONDS, (piece, rate, share) => {
        status.textContent = "Speak now.";
        const all = new Float32Array(left.length + piece.length);
        all.set(left);
        all.set(piece, left.length);
        const fresh = columnsOf(all, rate);
        columns.push(...fresh);
        left = all.slice(fresh.length * Math.round(rate / 100));
        $(".recorded").style.width = percent(Math.min(1, share));
        drawn(live, columns, Math.min(1, share));
      });
    } finally {
      live.hidden = true;
      $(".recorded").style.width = "0";
    }
  });
}

const chosen = (file) => take(file.name, () => file.arrayBuffer());

async function begin() {
  facts = await read();
  if (!facts.voters.length) {
    status.textContent = "This copy of the book was built without its networks, so it cannot listen. Notebook 12 can.";
    return;
  }
  slider.value = Math.round(100 * facts.threshold);
  const tell = () => { $(".level").textContent = `${slider.value}%`; };
  tell();
  slider.addEventListener("input", () => { tell(); if (takes.length) show(); });
  $("[name=record]").addEventListener("click", record);
  $("[type=file]").addEventListener("change", ({ target }) => { if (target.files[0]) chosen(target.files[0]); target.value = ""; });
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0] && !root.hasAttribute("aria-busy")) chosen(event.dataTransfer.files[0]); });
  facts.clips.forEach((clip, i) => {
    const button = make("button", { type: "button" }, `clip ${i + 1}`);
    button.addEventListener("click", () => take(`clip ${i + 1} of the book`, async () => (await fetch(new URL(`live/${clip.file}`, import.meta.url))).arrayBuffer(), clip.emotion));
    $(".clips").append(button);
  });
  new MutationObserver(() => takes.forEach((one) => drawn(one.card.querySelector("canvas"), one.columns))).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  buttons().forEach((button) => { button.disabled = false; });
  status.textContent = "Ready. The networks are loaded when you first press a button.";
}

begin().catch(() => { status.textContent = "The page could not read its list of voters. Load it again."; });
