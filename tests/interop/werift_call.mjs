// Calls a /webrtc endpoint with werift, a WebRTC stack in TypeScript: says a WAV, keeps what it
// hears. Prints one JSON object a line: events of the call as they came ({"event": ...}), what
// happened here ({"note": ...}), and last a summary ({"summary": {...}}).
//
//   node werift_call.mjs --url "ws://127.0.0.1:8000/webrtc?handler=room" --wav question.wav
//
//   --out answer.wav   where to write what was heard
//   --codec opus       the codec offered first: opus, pcmu or pcma (G.711 wants a WAV at 8 kHz)
//   --option {}        JSON, further fields of the invite's option
//   --bare             send {"sdp", "type": "offer"} instead of an invite
//   --trickle          send the offer without candidates, and each of them as a command
//   --dtmf 5           keys to press after the WAV
//   --until dtmf:2     end half a second after the second such event (plain dtmf: after the first)
//   --seconds 30       end after this long in any case
import { parseArgs } from "node:util";
import { MediaStreamTrack, RTCPeerConnection, RtpHeader, RtpPacket } from "werift";
import WebSocket from "ws";
import { Coder, assemble, keyPackets, offeredCodecs } from "./sound.mjs";
import { readWav, writeWav } from "./wav.mjs";

const FRAME_MS = 20;
const KEY_FRAMES = 20; // a key and the pause after it
const FIRST_SEQUENCE = 65400; // wraps round after less than three seconds
const FIRST_TIMESTAMP = 0xffffffff - 50000; // and this after one, or six at 8 kHz
const GOODBYE_MS = 15000;
const TAIL_MS = 500;
const MAX_PACKETS = 50 * 600;

const { values: given } = parseArgs({
  options: {
    url: { type: "string" },
    wav: { type: "string" },
    out: { type: "string" },
    codec: { type: "string", default: "opus" },
    option: { type: "string", default: "{}" },
    bare: { type: "boolean", default: false },
    trickle: { type: "boolean", default: false },
    dtmf: { type: "string", default: "" },
    until: { type: "string", default: "" },
    seconds: { type: "string", default: "30" },
  },
});

const print = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Call {
  constructor(options) {
    this.options = options;
    this.sound = options.wav ? readWav(options.wav) : silentWav(options.codec);
    this.coder = new Coder(options.codec, this.sound.rate);
    this.heard = [];
    this.sent = 0;
    this.sequence = FIRST_SEQUENCE;
    this.met = 0;
    this.ended = false;
    this.finished = new Promise((resolve) => (this.finish = resolve));
    this.connected = new Promise((resolve) => (this.wasConnected = resolve));
    this.closed = new Promise((resolve) => (this.wasClosed = resolve));
  }

  async run() {
    const began = performance.now();
    this.peer = this.makePeer(began);
    await this.openSocket();
    await this.offer();
    const limit = setTimeout(() => this.finish("time is up"), 1000 * Number(this.options.seconds));
    const sending = this.connected.then(() => this.send());
    const reason = await Promise.race([this.finished, this.closed, sending]);
    clearTimeout(limit);
    this.ended = true;
    if (this.socket.readyState === WebSocket.OPEN) this.command("hangup", { reason: "caller" });
    await Promise.race([this.closed, pause(GOODBYE_MS)]);
    await Promise.race([this.peer.close(), pause(GOODBYE_MS)]);
    this.socket.terminate();
    this.report(reason);
  }

  makePeer(began) {
    const audio = offeredCodecs(this.options.codec);
    const peer = new RTCPeerConnection({ iceServers: [], codecs: { audio, video: [] } });
    this.track = new MediaStreamTrack({ kind: "audio" });
    this.transceiver = peer.addTransceiver(this.track, { direction: "sendrecv" });
    peer.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((rtp) => this.hear(rtp)));
    peer.connectionStateChange.subscribe((state) => {
      print({ note: "connection", state });
      if (state === "connected" && this.connectedMs === undefined) {
        this.connectedMs = Math.round(performance.now() - began);
        this.wasConnected();
      } else if (state === "failed" && !this.ended) {
        this.finish("the connection failed");
      }
    });
    return peer;
  }

  async openSocket() {
    this.socket = new WebSocket(this.options.url);
    this.socket.on("message", (data, binary) => {
      if (!binary) this.event(JSON.parse(data.toString()));
    });
    this.socket.on("close", (code) => {
      print({ note: "closed", code });
      this.wasClosed("the socket was closed");
    });
    await new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.socket.on("error", reject);
    });
  }

  command(name, fields) {
    this.socket.send(JSON.stringify({ command: name, ...fields }));
  }

  async offer() {
    const { peer, options } = this;
    if (options.trickle) {
      peer.onIceCandidate.subscribe((found) => this.candidate(found));
    }
    const offer = await peer.createOffer();
    if (options.trickle) this.invite(offer.sdp);
    await peer.setLocalDescription(offer);
    if (options.trickle) {
      this.command("addIceCandidate", { candidate: "" });
      return;
    }
    this.invite(peer.localDescription.sdp);
  }

  invite(sdp) {
    print({ note: "offer", sdp });
    if (this.options.bare) {
      this.socket.send(JSON.stringify({ sdp, type: "offer" }));
    } else {
      this.command("invite", { option: { ...JSON.parse(this.options.option), offer: sdp } });
    }
  }

  candidate(found) {
    if (!found) return;
    const { candidate, sdpMid, sdpMLineIndex } = found.toJSON();
    print({ note: "candidate", candidate });
    this.command("addIceCandidate", { candidate, sdpMid, sdpMLineIndex });
  }

  event(event) {
    print(event);
    if (event.event === "answer") {
      this.accept(event.sdp).catch((error) => this.finish(`the answer was refused: ${error}`));
    }
    const [awaited, times = 1] = this.options.until.split(":");
    if (event.event === awaited && ++this.met === Number(times)) {
      setTimeout(() => this.finish(event.event), TAIL_MS);
    }
  }

  async accept(sdp) {
    await this.peer.setRemoteDescription({ type: "answer", sdp });
    this.taken = this.transceiver.sender.codec;
    print({ note: "codec", name: this.taken.name, payloadType: this.taken.payloadType });
    if (this.taken.name.toLowerCase() !== this.options.codec) {
      throw new Error(`${this.options.codec} was offered first`);
    }
  }

  hear(rtp) {
    const { payloadType, sequenceNumber: sequence, timestamp } = rtp.header;
    if (this.heard.length >= MAX_PACKETS) return;
    this.heard.push({ payloadType, sequence, timestamp, payload: Buffer.from(rtp.payload) });
  }

  /** The WAV, the keys, then silence as of a microphone, at their pace. */
  async send() {
    const { coder, sound, options } = this;
    const said = Math.ceil(sound.samples.length / coder.frame);
    const keys = [...options.dtmf].flatMap((key, place) => {
      const start = (FIRST_TIMESTAMP + (said + place * KEY_FRAMES) * coder.ticks) >>> 0;
      const packets = keyPackets(key, coder.ticks);
      return Array.from({ length: KEY_FRAMES }, () => ({ start, packet: packets.next().value }));
    });
    const began = performance.now();
    for (let number = 0; !this.ended; number++) {
      const key = keys[number - said];
      if (key?.packet) {
        await this.press(key.packet, key.start);
      } else {
        const samples = sound.samples.subarray(number * coder.frame, (number + 1) * coder.frame);
        this.speak(samples, (FIRST_TIMESTAMP + number * coder.ticks) >>> 0, number === 0);
      }
      await pause(Math.max(0, began + (number + 1) * FRAME_MS - performance.now()));
    }
  }

  speak(samples, timestamp, marker) {
    const frame = new Int16Array(this.coder.frame);
    frame.set(samples);
    const header = new RtpHeader({ sequenceNumber: this.sequence, timestamp, marker });
    this.sequence = (this.sequence + 1) & 0xffff;
    this.sent++;
    this.track.writeRtp(new RtpPacket(header, this.coder.encode(frame)));
  }

  /** Past the sender, which writes the codec's payload type into every packet. */
  async press({ payload, marker }, timestamp) {
    const { sender } = this.transceiver;
    const header = new RtpHeader({
      ssrc: sender.ssrc,
      payloadType: offeredCodecs(this.options.codec).at(-1).payloadType,
      sequenceNumber: this.sequence,
      timestamp,
      marker,
    });
    this.sequence = (this.sequence + 1) & 0xffff;
    this.sent++;
    await sender.dtlsTransport.sendRtp(payload, header);
  }

  report(reason) {
    const heard = this.heard.filter((packet) => packet.payloadType === this.taken?.payloadType);
    const { samples, lost } = assemble(heard, new Coder(this.options.codec, this.sound.rate));
    if (this.options.out) writeWav(this.options.out, this.sound.rate, samples);
    print({
      summary: {
        reason,
        connectedMs: this.connectedMs ?? null,
        codec: this.taken?.name ?? null,
        packetsIn: this.heard.length,
        packetsOut: this.sent,
        lost,
        otherPayloadTypes: this.heard.length - heard.length,
        seconds: samples.length / this.sound.rate,
      },
    });
  }
}

function silentWav(codec) {
  return { rate: codec === "opus" ? 16000 : 8000, samples: new Int16Array(0) };
}

try {
  await new Call(given).run();
  process.exit(0);
} catch (error) {
  print({ note: "error", error: String(error?.stack ?? error) });
  process.exit(1);
}
