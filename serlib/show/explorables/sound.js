// The book's player: a button, the waveform as progress bar, the time. Without scripts the browser's own stays.
const sound = (box) => {
  const audio = box.querySelector("audio"), wave = box.querySelector("svg");
  if (!audio || box.dataset.ready) return;
  box.dataset.ready = "yes";
  if (!document.getElementById("ser-sound")) document.head.insertAdjacentHTML("beforeend", `<style id="ser-sound">
.ser-sound[data-ready]{display:grid;grid-template-columns:auto 1fr auto;align-items:center;gap:0 .6em;min-width:11em}
.ser-sound[data-ready] audio{display:none}
.ser-sound button{width:2.6em;height:2.6em;padding:0;border:0;border-radius:50%;cursor:pointer;font:inherit;color:inherit;background:color-mix(in srgb,currentColor 14%,transparent)}
.ser-sound button:hover{background:color-mix(in srgb,currentColor 26%,transparent)}
.ser-sound button svg{width:1em;height:1em;display:block;margin:auto;fill:currentColor;background:transparent}
.ser-sound :is(button,input):focus-visible{outline:2px solid currentColor;outline-offset:2px}
.ser-sound .wave{position:relative}
.ser-sound .wave svg{display:block;width:100%;height:2.6em;opacity:.55}
.ser-sound .wave svg+svg{position:absolute;inset:0;opacity:1;clip-path:inset(0 100% 0 0)}
.ser-sound input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:pointer}
.ser-sound .wave:focus-within{outline:1px dotted currentColor}
.ser-sound .time{font-size:.85em;font-variant-numeric:tabular-nums;white-space:nowrap;color:var(--pst-color-text-base,inherit)}
</style>`);
  const icon = (path) => `<svg aria-hidden="true" viewBox="0 0 10 10"><path d="${path}"/></svg>`;
  const play = icon("M2 .5L9.5 5L2 9.5z"), pause = icon("M1.5 1h2.6v8H1.5zM5.9 1h2.6v8H5.9z");
  const button = document.createElement("button"), bar = document.createElement("div"), time = document.createElement("span");
  button.type = "button";
  bar.className = "wave";
  time.className = "time";
  bar.innerHTML = '<input type="range" min="0" max="100" value="0">';
  const seek = bar.firstElementChild, done = wave.cloneNode(true);
  wave.before(button, bar, time);
  bar.prepend(wave, done);
  audio.controls = false;
  const length = () => audio.duration || +box.dataset.seconds || 0;
  const press = () => {
    button.innerHTML = audio.paused ? play : pause;
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"}: ${audio.getAttribute("aria-label")}`);
  };
  const show = () => {
    const name = audio.getAttribute("aria-label"), share = length() ? Math.min(1, audio.currentTime / length()) : 0;
    seek.setAttribute("aria-label", `Position in ${name}`);
    seek.setAttribute("aria-valuetext", `${audio.currentTime.toFixed(1)} of ${length().toFixed(1)} seconds`);
    seek.value = 100 * share;
    done.style.clipPath = `inset(0 ${100 - 100 * share}% 0 0)`;
    time.textContent = `${(audio.currentTime || length()).toFixed(1)} s`;
  };
  const follow = () => { show(); if (!audio.paused) requestAnimationFrame(follow); };
  button.addEventListener("click", () => audio.paused ? audio.play().catch(() => { audio.controls = true; audio.style.display = "block"; }) : audio.pause());
  seek.addEventListener("input", () => { if (length()) audio.currentTime = length() * seek.value / 100; show(); });
  audio.addEventListener("play", () => {
    document.querySelectorAll("audio").forEach((other) => other === audio || other.pause());
    follow();
  });
  audio.addEventListener("ended", () => { audio.currentTime = 0; });
  ["play", "pause", "ended", "emptied"].forEach((event) => audio.addEventListener(event, press));
  ["pause", "ended", "emptied", "loadedmetadata"].forEach((event) => audio.addEventListener(event, show));
  press();
  show();
};
