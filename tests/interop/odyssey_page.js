// What a page does with the published client; every call a test makes is a function of `window.page`.
import * as sdk from "/odyssey.js";

const LIMIT_MS = 30_000;
const events = [];
let client;
let credentials;
let spectator;

const note = (name) => (...given) => {
  events.push([name, ...given.map((one) => (one instanceof Error ? described(one) : one))]);
};

const described = (error) => ({
  name: error.name,
  kind: error.constructor.name,
  message: error.message,
  code: error.code ?? null,
});

const handlers = {
  onConnected: (stream) => events.push(["connected", stream.getVideoTracks().length]),
  onDisconnected: note("disconnected"),
  onStreamStarted: note("started"),
  onStreamEnded: note("ended"),
  onInteractAcknowledged: note("acknowledged"),
  onStreamError: note("streamError"),
  onBroadcastReady: note("broadcast"),
  onError: note("error"),
  onStatusChange: note("status"),
};

const within = (promise) =>
  Promise.race([
    promise,
    new Promise((_, reject) => {
      setTimeout(() => reject(new Error("nothing happened in time")), LIMIT_MS);
    }),
  ]);

const settled = async (promise) => {
  try {
    return { value: await within(promise) };
  } catch (error) {
    return { error: described(error) };
  }
};

const until = async (condition) => {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    const found = condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const video = (id) => {
  let element = document.getElementById(id);
  if (!element) {
    element = Object.assign(document.createElement("video"), { id, muted: true, autoplay: true });
    document.body.append(element);
  }
  return element;
};

// Black and white blocks: 1 bit live, 27 bits frame number, 44 bits time, 8 bits check sum.
const stampOf = (element) => {
  const [width, height] = [element.videoWidth, element.videoHeight];
  if (!width) return null;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(element, 0, 0);
  const across = Math.floor(width / 18);
  const down = Math.min(across, Math.floor(height / 12));
  const left = Math.floor((width - 16 * across) / 2);
  const { data } = context.getImageData(0, down, width, 5 * down);
  const bits = [];
  for (let row = 0; row < 5; row += 1)
    for (let column = 0; column < 16; column += 1) {
      const x = left + column * across + Math.floor(across / 2);
      const y = row * down + Math.floor(down / 2);
      bits.push(data[4 * (y * width + x) + 1] > 126 ? 1n : 0n);
    }
  const number = (from, to) => bits.slice(from, to).reduce((sum, bit) => (sum << 1n) | bit, 0n);
  let crc = 0xffn;
  for (let index = 0; index < 72; index += 8) {
    crc ^= number(index, index + 8);
    for (let bit = 0; bit < 8; bit += 1)
      crc = crc & 0x80n ? ((crc << 1n) ^ 0x07n) & 0xffn : (crc << 1n) & 0xffn;
  }
  if (crc !== number(72, 80)) return null;
  return {
    live: bits[0] === 1n,
    frame: Number(number(1, 28)),
    sentMs: Number(number(28, 72)),
    width,
    height,
  };
};

const show = (id, stream) => {
  const element = video(id);
  element.srcObject = stream;
  return element.play();
};

// Some frames, each newer than the one before; live ones, or those of the idle picture.
const frames = async (id, live, count) => {
  const found = [];
  await until(() => {
    const stamp = stampOf(video(id));
    const last = found.at(-1);
    if (stamp && stamp.live === live && (!last || stamp.frame > last.frame))
      found.push({ ...stamp, ageMs: Date.now() - stamp.sentMs });
    return found.length >= count;
  });
  return found;
};

const colour = (id) => {
  const element = video(id);
  const canvas = new OffscreenCanvas(element.videoWidth, element.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(element, 0, 0);
  const { data } = context.getImageData(4, element.videoHeight - 8, 1, 1);
  return [...data];
};

window.page = {
  make: (apiKey) => {
    events.length = 0;
    client = new sdk.Odyssey({ apiKey });
  },
  connect: async () => {
    const done = await settled(client.connect(handlers));
    if (done.error) return done;
    await show("main", done.value);
    return { value: client.currentSessionId };
  },
  mint: async () => {
    credentials = await client.createClientCredentials();
    return sdk.credentialsToDict(credentials);
  },
  connectWithCredentials: async () => {
    client = new sdk.Odyssey();
    const done = await settled(client.connectWithCredentials(credentials, handlers));
    if (done.error) return done;
    await show("main", done.value);
    return { value: client.currentSessionId };
  },
  start: (options) => settled(client.startStream(options)),
  startWithImage: async (options, width, height) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.fillStyle = "rgb(220 30 30)";
    context.fillRect(0, 0, width, height);
    const image = await canvas.convertToBlob({ type: "image/png" });
    return settled(client.startStream({ ...options, image }));
  },
  startAndDisconnect: async () => {
    const started = settled(client.startStream({ prompt: "never" }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.disconnect();
    return started;
  },
  interact: (prompt) => settled(client.interact({ prompt })),
  end: () => settled(client.endStream()),
  disconnect: () => client.disconnect(),
  state: () => ({
    status: client.currentStatus,
    connected: client.isConnected,
    prompt: client.lastAppliedPrompt,
  }),
  watch: async (url, token) => {
    const done = await settled(sdk.Odyssey.connectToStream(url, token));
    if (done.error) return done;
    spectator = done.value;
    await show("spectator", spectator.stream);
    return { value: spectator.connectionState };
  },
  leave: () => spectator.disconnect(),
  call: (name, ...given) => settled(client[name](...given)),
  frames,
  until: async (name) => {
    await until(() => events.find(([event]) => event === name));
    return events;
  },
  events: () => events,
  colour,
  recoloured: (id, before) => until(() => colour(id).some((part, at) => part !== before[at])),
};
