// From a file or a microphone to what a network hears: mono at 16 kHz, trimmed as serlib's audio module does it.
// The page "Speak to the book" and the recorder of notebook 12 share it: scripts/build_book.py and players.py say how.

const RATE = 16000;
const SHORTEST = 0.1, THRESHOLD_DB = -35;  // seconds, and decibels below the loudest moment

// The browser decodes, and would resample to any rate too, but loses the highest of what a network hears. So it decodes
// at three times the rate, which most recordings have, and we go from there as serlib does.
async function decoded(bytes) {
  const rate = rateOf(new DataView(bytes)) === RATE ? RATE : 3 * RATE;
  const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const one = sound.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += one[i] / sound.numberOfChannels;
  }
  return rate === RATE ? mono : thirds(mono);
}

// The rate that a WAV or FLAC file names at its beginning.
function rateOf(bytes) {
  if (bytes.byteLength < 28) return 0;
  const begin = bytes.getUint32(0);
  if (begin === 0x52494646) return bytes.getUint32(24, true);  // RIFF
  return begin === 0x664c6143 ? bytes.getUint32(18) >>> 12 : 0;  // fLaC
}

// Every third sample, of what a low-pass leaves: a sinc in a Kaiser window, which lets pass and stops where soxr's does.
function thirds(samples) {
  const half = 270, cutoff = 0.319, beta = 12.3;  // taps on either side, cycles a sample, -120 dB
  const bessel = (x) => { let sum = 1, term = 1; for (let k = 1; k < 40; k++) sum += term *= (x / (2 * k)) ** 2; return sum; };
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const t = i - half, sinc = t ? Math.sin(Math.PI * cutoff * t) / (Math.PI * t) : cutoff;
    return sinc * bessel(beta * Math.sqrt(1 - (t / half) ** 2)) / bessel(beta);
  });
  return Float32Array.from({ length: Math.round(samples.length / 3) }, (_, n) => {
    const first = 3 * n - half, last = Math.min(3 * n + half, samples.length - 1);
    let sum = 0;
    for (let i = Math.max(first, 0); i <= last; i++) sum += samples[i] * taps[i - first];
    return sum;
  });
}

// Running sums, so that the sum of any frame is a difference of two.
function sums(samples, of) {
  const total = new Float64Array(samples.length + 1);
  for (let i = 0; i < samples.length; i++) total[i + 1] = total[i] + of(samples[i]);
  return total;
}

function loudest(power, starts, stops, silent, least) {
  const left = Float64Array.from(power);
  for (;;) {
    const most = left.reduce((a, b) => Math.max(a, b), 0);
    if (!most) return power.reduce((a, b) => Math.max(a, b), 0);
    const first = left.findIndex((p) => p > most * silent), last = left.findLastIndex((p) => p > most * silent);
    const start = starts[first], stop = stops[last];
    if (stop - start >= least) return most;
    left.forEach((_, i) => { if (stops[i] > start && starts[i] < stop) left[i] = 0; });
  }
}

// The first sample that is not silence and the one after the last, [0, 0] for a sound that never changes.
function activeSpan(samples, rate = RATE) {
  const hop = Math.floor(rate / 100), width = Math.floor(rate / 40);
  if (!samples.length || samples.every((x) => x === samples[0])) return [0, 0];
  const starts = [], stops = [];
  for (let start = 0; start < Math.max(samples.length - width, 0) + hop && start < samples.length; start += hop) {
    starts.push(start);
    stops.push(Math.min(start + width, samples.length));
  }
  const powerOf = (offset) => {
    const total = sums(samples, (x) => (x - offset) ** 2);
    return Float64Array.from(starts, (start, i) => total[stops[i]] - total[start]);
  };
  const silent = 10 ** (THRESHOLD_DB / 10), least = SHORTEST * rate;
  let power = powerOf(0), peak = loudest(power, starts, stops, silent, least);
  const total = sums(samples, (x) => x);
  const means = starts.map((start, i) => (total[stops[i]] - total[start]) / (stops[i] - start)).sort((a, b) => a - b);
  const middle = means.length / 2, offset = (means[Math.ceil(middle) - 1] + means[Math.floor(middle)]) / 2;
  if (width * offset ** 2 > peak * silent) {
    power = powerOf(offset);
    peak = loudest(power, starts, stops, silent, least);
  }
  const first = power.findIndex((p) => p > peak * silent), last = power.findLastIndex((p) => p > peak * silent);
  return [starts[first], stops[last]];
}

function trimmed(samples) {
  const [start, stop] = activeSpan(samples);
  return stop ? samples.subarray(start, stop) : samples;
}

// Samples as a WAV file of 32-bit floats, which loses nothing: for decoding at 16 kHz, and for playing.
function wav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 4 * samples.length));
  const text = (at, word) => [...word].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); bytes.setUint32(4, 36 + 4 * samples.length, true); text(8, "WAVEfmt ");
  [[16, 4], [3, 2], [1, 2], [rate, 4], [4 * rate, 4], [4, 2], [32, 2]].reduce((at, [value, size]) => {
    if (size === 4) bytes.setUint32(at, value, true); else bytes.setUint16(at, value, true);
    return at + size;
  }, 16);
  text(36, "data"); bytes.setUint32(40, 4 * samples.length, true);
  samples.forEach((x, i) => bytes.setFloat32(44 + 4 * i, x, true));
  return bytes.buffer;
}

// The log-mel picture of a sound: a column each 10 ms, its bands from low to high, 0 to 1 over 80 dB.
function logMel(samples, rate, bands = 48) {
  const width = Math.round(rate / 40), hop = Math.round(rate / 100), size = 2 ** Math.ceil(Math.log2(width));
  const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700), top = mel(8000);
  const edge = Array.from({ length: bands + 2 }, (_, i) => 700 * (10 ** ((top * i) / (bands + 1) / 2595) - 1) * size / rate);
  const window = Float64Array.from({ length: width }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / width));
  const columns = [];
  for (let start = 0; start + width <= samples.length; start += hop) {
    const real = new Float64Array(size), imaginary = new Float64Array(size);
    for (let i = 0; i < width; i++) real[i] = samples[start + i] * window[i];
    fourier(real, imaginary);
    columns.push(Float32Array.from({ length: bands }, (_, band) => {
      const [low, mid, high] = edge.slice(band, band + 3);
      let power = 1e-10;
      for (let bin = Math.floor(low); bin <= Math.ceil(high) && bin <= size / 2; bin++) {
        const weight = Math.max(0, Math.min((bin - low) / (mid - low), (high - bin) / (high - mid)));
        power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
      }
      return Math.min(1, Math.max(0, (10 * Math.log10(power) + 50) / 80));
    }));
  }
  return columns;
}

function fourier(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let k = 0; k < length / 2; k++) {
      const angle = (-2 * Math.PI * k) / length, cos = Math.cos(angle), sin = Math.sin(angle);
      for (let i = k; i < size; i += length) {
        const j = i + length / 2, x = real[j] * cos - imaginary[j] * sin, y = real[j] * sin + imaginary[j] * cos;
        real[j] = real[i] - x; imaginary[j] = imaginary[i] - y;
        real[i] += x; imaginary[i] += y;
      }
    }
  }
}

// Record some seconds, fewer where the signal `until` is given first; `onPiece` gets the samples as they come. The
// microphone is let go in every case.
// `worklet` is the address of recorder.js.
async function recorded(seconds, worklet, until, onPiece) {
  if (!isSecureContext) throw new DOMException("", "SecurityError");
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "NotFoundError");
  const quiet = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: quiet });
  const context = new AudioContext();
  try {
    await context.resume();
    await context.audioWorklet.addModule(worklet);
    const node = new AudioWorkletNode(context, "recorder"), pieces = [], wanted = seconds * context.sampleRate;
    let count = 0;
    await new Promise((done, failed) => {
      node.port.onmessage = ({ data }) => {
        pieces.push(data);
        count += data.length;
        onPiece(data, context.sampleRate, count / wanted);
        if (count < wanted && !until.aborted) return;
        node.port.onmessage = null;
        done();
      };
      stream.getTracks().forEach((track) => { track.onended = () => failed(new DOMException("", "NotReadableError")); });
      context.createMediaStreamSource(stream).connect(node);
      node.connect(context.destination);  // it puts out nothing, but is asked for it
    });
    const samples = new Float32Array(count);
    pieces.reduce((at, piece) => { samples.set(piece, at); return at + piece.length; }, 0);
    return wav(samples, context.sampleRate);
  } finally {
    stream.getTracks().forEach((track) => { track.onended = null; track.stop(); });
    context.close();
  }
}
