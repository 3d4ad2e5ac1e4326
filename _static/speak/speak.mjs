// The page "Speak to the book": take a sound, ask the voters, show what they say. Nothing leaves the page.
// Nothing of the networks is fetched before the first press. Names and files go into the page as text, never as HTML.
import { RATE, Refusal, columnsOf, drawn, make, taking, wav } from "./hearing.mjs";
import { sound as player } from "./player.mjs";
import { answer, facts as read, loaded, top, votes } from "./voters.mjs";

const WINDOW = 2, STEP = 1;  // seconds, for the emotion over time
const root = document.querySelector(".ser-speak"), $ = (query) => root.querySelector(query);
const slider = $("[name=sure]"), people = $("[name=people]");
let facts = null, takes = [], taken = 0, control = null, ready = null;

const percent = (share) => `${Math.round(100 * share)}%`;
const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
const tint = (label) => `color-mix(in srgb,${facts.colors[label] ?? "currentColor"} 65%,currentColor)`;
const both = (names) => new Intl.ListFormat("en-GB").format(names);  // "angry, calm and sad"
const heardBy = (voter, one) => (voter.trim ? one.own : one.samples);

// The networks, loaded once, those that the reader asks; the first six vote, and the one that heard people stands apart.
const networks = () => loaded(facts.voters, (count) => { root.dataset.loaded = count; });
const seventh = () => loaded([facts.people], () => {});
const brought = (ready) => ready.catch(() => { throw new Refusal("The networks could not be loaded. Is the connection gone? Try again."); });

// One sound to its card.
async function answered({ name, meant = "", samples, own }, say) {
  if (+root.dataset.loaded !== facts.voters.length) say(`The ${facts.voters.length} networks are loading (${megabytes(facts.voters.reduce((sum, voter) => sum + voter.bytes, 3.7e6))}, once) …`);
  const one = { name: `Take ${taken + 1}: ${name}`, meant, samples, own, answers: [], moments: [] };
  const sessions = await brought(ready);
  say("The networks listen …");
  for (const [k, session] of sessions.entries()) one.answers.push(await answer(session, heardBy(facts.voters[k], one)));
  one.vote = votes(one.answers);
  taken += 1;
  takes = [...takes.slice(-1), one];
  show();
  if (own.length > 2 * WINDOW * RATE) await followed(one, sessions);
  if (people.checked) await asked();
}

// The emotion over time, of a longer sound.
async function followed(one, sessions) {
  for (let start = 0; start + WINDOW * RATE <= one.own.length; start += STEP * RATE) {
    const piece = one.own.slice(start, start + WINDOW * RATE), said = [];
    for (const session of sessions) said.push(await answer(session, piece));
    one.moments.push(votes(said).soft);
    await new Promise((next) => { setTimeout(next); });
  }
  show();
}

// Ask the voter who heard people about the takes that it has not heard yet.
async function asked() {
  if (!takes.some((one) => !one.people)) return;
  control.say(`${facts.people.title} is loading (${megabytes(facts.people.bytes)}, once) …`);
  const [session] = await brought(seventh());
  for (const one of takes) one.people ??= await answer(session, heardBy(facts.people, one));
  show();
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

// What the threshold costs, counted on clips whose emotion is known.
function price() {
  const { clips, answered: kept, right } = facts.cost, given = kept[slider.value], good = right[slider.value];
  const begin = `Of ${clips} validation clips, the networks would answer ${given} at this threshold`;
  if (!given) return `${begin}.`;
  return `${begin} and refuse ${clips - given}. ${good} of the ${given} answers would be right (${percent(good / given)}).`;
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

function row(voter, shares) {
  const says = facts.labels[top(shares)], words = voter.title.split(" ").flatMap((word) => [make("span", {}, word), " "]);
  const told = facts.labels.map((label, i) => `${label} ${percent(shares[i])}`).join(", ");
  const columns = make("span", { class: "columns", role: "img", "aria-label": told });
  shares.forEach((share, i) => columns.append(make("i", { style: `--share:${share};color:${tint(facts.labels[i])}` })));
  return make("tr", {}, make("th", { scope: "row" }, ...words), make("td", {}, columns), make("td", {}, `${says}, ${percent(Math.max(...shares))}`));
}

function ballot({ answers, people: said }) {
  const head = make("tr", {}, ...["voter", "its eight bars", "says"].map((word) => make("th", { scope: "col" }, word)));
  const table = make("table", {}, make("caption", {}, "The hard vote counts what each network says:"), make("thead", {}, head), make("tbody", {}, ...facts.voters.map((voter, k) => row(voter, answers[k]))));
  if (said) {
    const apart = make("tr", {}, make("th", { scope: "rowgroup", colspan: 3 }, "who has heard people, and has no vote"));
    table.append(make("tbody", { class: "apart" }, apart, row(facts.people, said)));
  }
  return table;
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
      one.ballot = ballot(one);
      one.card = make("section", { "aria-label": one.name }, make("p", {}, make("b", {}, one.name)), listened(one.own, one.name), picture, make("p", { class: "verdict" }), make("p", { class: "note" }, "The soft vote is the mean of all networks’ bars:"), bars(one.vote.soft), one.ballot);
      one.columns = columnsOf(one.own, RATE);
    }
    if (one.people && !one.ballot.querySelector(".apart")) {
      const whole = ballot(one);
      one.ballot.replaceWith(whole);
      one.ballot = whole;
    }
    if (one.moments.length && !one.timed) one.card.append(one.timed = overTime(one));
    one.card.querySelector(".verdict").textContent = verdict(one);
    return one.card;
  });
  $(".takes").replaceChildren(...places);
  takes.forEach((one) => drawn(one.card.querySelector("canvas"), one.columns));
  const last = takes.at(-1), said = last.people && ` ${facts.people.title} says ${facts.labels[top(last.people)]}, with ${percent(Math.max(...last.people))}.`;
  control.say(`${last.name}. ${verdict(last)}${said || ""}`);
}

// Buttons for clips of the book, each kind with a word before it.
function offered(clips, word, first, prefix) {
  const group = make("div", { class: "clips", role: "group", "aria-label": word }, make("span", { "aria-hidden": "true" }, prefix));
  clips.forEach((clip, i) => {
    const name = `clip ${first + i + 1}`, button = make("button", { type: "button" }, name);
    const get = async () => (await fetch(new URL(`live/${clip.file}`, import.meta.url))).arrayBuffer();
    button.addEventListener("click", async () => {
      const before = taken;
      await control.take(`${name} of the book`, get, { meant: clip.emotion });
      if (taken > before) takes.at(-1).card.querySelector("audio").play().catch(() => {});  // some browsers never do unasked
    });
    group.append(button);
  });
  control.ways.append(group);
}

async function begin() {
  const place = $(".ser-take");
  facts = await read();
  if (!facts.voters.length) {
    place.textContent = "This copy of the book was built without its networks, so it cannot listen. Notebook 12 can.";
    return;
  }
  control = taking(place, new URL("recorder.mjs", import.meta.url), answered, () => {
    ready = networks();
    ready.catch(() => {});  // said later, once the sound is there
  });
  offered(facts.clips, "Or take one of the book's clips", 0, "One of each emotion:");
  if (facts.split.length) offered(facts.split, "Or one on which the networks disagree", facts.clips.length, "The networks disagree:");
  slider.value = Math.round(100 * facts.threshold);
  const tell = () => { $(".level").textContent = `${slider.value}%`; $(".price").textContent = price(); };
  tell();
  slider.addEventListener("input", () => { tell(); if (takes.length) show(); });
  $(".sure").hidden = false;
  if (facts.people) {
    $(".people b").textContent = facts.people.title;
    $(".people [data-size]").textContent = megabytes(facts.people.bytes);
    root.querySelectorAll(".people").forEach((part) => { part.hidden = false; });
    people.addEventListener("change", () => { if (people.checked && !place.hasAttribute("aria-busy")) control.guarded(asked); });
  }
  new MutationObserver(() => takes.forEach((one) => drawn(one.card.querySelector("canvas"), one.columns))).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  control.say("Ready. The networks are loaded when you first press a button.");
}

begin().catch(() => { $(".ser-take").textContent = "The page could not read its list of voters. Load it again."; });
