// The control that takes a sound: from the microphone, a file or what is dropped on it. It stands on hearing.js.
// Whatever a file is called goes into the page as text, never as HTML.
const SECONDS = 3, LONGEST = 30, HUSHED = 1e-3;  // of full scale: -60 dB
const LEAST = 0.5;  // seconds before a recording can be stopped: the second press of a double click stops nothing

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};

// Draws loudness above and the log-mel picture below, column by column, with places for `places` of them.
// Those before `from` are there already.
function drawn(canvas, columns, places = columns.length, from = 0) {
  const paint = canvas.getContext("2d"), ink = getComputedStyle(canvas).color.match(/[\d.]+/g).slice(0, 3).join();
  const wide = canvas.width, tall = canvas.height, each = wide / Math.max(places, 1);
  if (!from) paint.clearRect(0, 0, wide, tall);
  const high = Math.round(tall * 0.28), room = tall - high - 4;
  for (let i = from; i < columns.length; i++) {
    const { mel, peak } = columns[i], loud = Math.min(1, 2 * peak) * high;
    const x = Math.floor(i * each), width = Math.max(1, Math.floor((i + 1) * each) - x);
    paint.fillStyle = `rgb(${ink})`;
    paint.fillRect(x, (high - loud) / 2, width, Math.max(1, loud));
    mel.forEach((value, j) => {
      const above = Math.floor((j + 1) * room / mel.length), below = Math.floor(j * room / mel.length);
      paint.fillStyle = `rgba(${ink},${(0.95 * value ** 1.5).toFixed(3)})`;
      paint.fillRect(x, tall - above, width, above - below);
    });
  }
}

const columnsOf = (samples, rate) => {
  const hop = Math.round(rate / 100);
  return logMel(samples, rate).map((mel, i) => {
    let peak = 0;
    for (let k = i * hop; k < (i + 1) * hop; k++) peak = Math.max(peak, Math.abs(samples[k]));
    return { mel, peak };
  });
};

class Refusal extends Error {}

const REASONS = {
  NotAllowedError: "The microphone was refused. Allow it beside the address of this page, or choose a file.",
  NotFoundError: "No microphone was found. Plug one in, or choose a file.",
  NotReadableError: "The microphone stopped, or another program has it. Try again, or choose a file.",
  SecurityError: "A browser lends the microphone to https pages only, and this is none. Choose a file.",
  EncodingError: "This is no sound that your browser can read. Choose a WAV, MP3, OGG, FLAC or M4A file.",
};

// The part of a sound that is not silence, or a sentence that says why nobody can be asked about it.
function voiced(samples) {
  const seconds = samples.length / RATE, peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  if (!samples.length || peak < HUSHED) throw new Refusal("There is only silence in it. Come nearer, or choose another microphone, and try again.");
  const own = trimmed(samples);
  if (own.length < SHORTEST * RATE) throw new Refusal(`There is less than ${SHORTEST} s of sound in it. Say a whole sentence.`);
  if (seconds > LONGEST) throw new Refusal(`It lasts ${Math.round(seconds)} s, and ${LONGEST} s are the most. Choose a shorter piece.`);
  return own;
}

// Fill `root` with the control. `answer(sound, say)` gets {name, samples, own, ...}, `own` without silence at its ends;
// `begun` is called when a sound is on its way. Returned are `take(name, get, more)`, which takes the bytes that get() brings,
// `guarded(work)`, `say(sentence)`, and the element of the `ways` to give a sound.
function taking(root, worklet, answer, begun = () => {}) {
  if (!document.getElementById("ser-take")) document.head.append(make("style", { id: "ser-take" }, `
.ser-take{margin:1em 0;padding:1em 1.2em;border:1px solid color-mix(in srgb,currentColor 35%,transparent);border-radius:.6em}
.ser-take :is(.ways,.clips){display:flex;flex-wrap:wrap;gap:.5em;align-items:center}
.ser-take :is(.ways button,.file){font:inherit;color:inherit;min-height:2.6em;padding:.2em .8em;border:1px solid currentColor;border-radius:.4em;background:transparent;cursor:pointer;display:inline-flex;align-items:center}
.ser-take :is(.ways button:hover:enabled,.file:hover){background:color-mix(in srgb,currentColor 12%,transparent)}
.ser-take .ways button:disabled{cursor:default;opacity:.6}
.ser-take .ways [name=record]{font-size:1.15em;font-weight:700;padding:.3em 1.1em;border-width:2px}
.ser-take .ways [name=record]::before{content:"";width:.8em;height:.8em;margin-right:.6em;border-radius:50%;background:#e90049}
.ser-take .file{position:relative}
.ser-take .file input{position:absolute;width:1px;height:1px;opacity:0}
.ser-take :is(button,input):focus-visible,.ser-take .file:focus-within{outline:2px solid currentColor;outline-offset:2px}
.ser-take [role=status]{box-sizing:content-box;min-height:5em;line-height:1.65;margin:.6em 0;padding:.5em .8em;scroll-margin:4.5em .6em;border-left:4px solid currentColor;background:color-mix(in srgb,currentColor 6%,transparent)}
@media(max-width:30em){.ser-take [role=status]{min-height:8.3em}}
.ser-take .recorded{height:4px;width:0;background:#e90049}
.ser-take canvas{display:block;width:100%;height:6em;margin:.6em 0 0;background:color-mix(in srgb,currentColor 4%,transparent);border-radius:.3em}
`));
  const offer = `Record ${SECONDS} seconds`, record = make("button", { type: "button", name: "record" }, offer);
  const file = make("input", { type: "file", accept: "audio/*,.wav,.mp3,.ogg,.flac,.m4a" });
  const ways = make("div", { class: "ways" }, record, make("label", { class: "file" }, "Choose a sound file", file));
  const live = make("canvas", { class: "live", width: 600, height: 120, "aria-hidden": "true" });  // always there: nothing moves
  const bar = make("div", { class: "recorded" }), status = make("p", { role: "status" });
  const say = (text) => { status.textContent = text; };
  let seen = [[]];  // what the picture shows: the newest sound, and its places
  let stop = null;  // what ends a recording early, while there is one
  const see = (columns, places = columns.length, from = 0) => { seen = [columns, places]; drawn(live, ...seen, from); };
  new MutationObserver(() => drawn(live, ...seen)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  root.replaceChildren(ways, live, bar, status);

  // Work that nobody may interrupt; what goes wrong in it gets a sentence.
  async function guarded(work) {
    const all = ways.querySelectorAll("button,input"), held = document.activeElement;
    all.forEach((way) => { way.disabled = true; });
    root.setAttribute("aria-busy", "true");
    status.scrollIntoView({ block: "nearest" });  // on a low screen it would speak where nobody sees it
    try {
      await work();
    } catch (error) {
      say(error instanceof Refusal ? error.message : REASONS[error.name] ?? `That did not work (${error.message}). Load the page again.`);
    } finally {
      root.removeAttribute("aria-busy");
      all.forEach((way) => { way.disabled = false; });
      if (ways.contains(held)) held.focus({ preventScroll: true });  // a disabled button loses it
    }
  }

  const take = (name, get, more = {}) => guarded(async () => {
    begun();
    const samples = await decoded((await get()).slice(0));
    see(columnsOf(samples, RATE));
    await answer({ name, samples, own: voiced(samples), ...more }, say);
  });

  async function spoken() {
    const columns = [];
    let left = new Float32Array(0);
    stop = new AbortController();
    say("Asking for the microphone …");
    see([]);
    record.style.minWidth = `${record.offsetWidth}px`;  // the shorter word moves nothing
    try {
      return await recorded(SECONDS, worklet, stop.signal, (piece, rate, share) => {
        if (!left.length) say("Speak now.");  // once: it may be read aloud
        const all = new Float32Array(left.length + piece.length);
        all.set(left);
        all.set(piece, left.length);
        const fresh = columnsOf(all, rate);
        columns.push(...fresh);
        left = all.slice(fresh.length * Math.round(rate / 100));
        bar.style.width = `${100 * Math.min(1, share)}%`;
        if (record.disabled && share * SECONDS >= LEAST) {
          record.textContent = "Stop";
          record.disabled = false;
          record.focus({ preventScroll: true });
        }
        see(columns, 100 * SECONDS, columns.length - fresh.length);  // the fresh ones only, or a slow machine falls behind
      });
    } finally {
      stop = null;
      record.textContent = offer;
      record.disabled = true;  // until the answer is there
      bar.style.width = "0";
    }
  }

  const chosen = (one) => take(one.name, () => one.arrayBuffer());
  record.addEventListener("click", () => (stop ? stop.abort() : take("your voice", spoken)));
  file.addEventListener("change", () => { if (file.files[0]) chosen(file.files[0]); file.value = ""; });
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0] && !root.hasAttribute("aria-busy")) chosen(event.dataTransfer.files[0]);
  });
  return { take, guarded, say, ways };
}
