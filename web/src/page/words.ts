import { ApiError } from "../client/api";
import type { SalonApi } from "../client/api";
import { CallError } from "../client/call";
import { MicrophoneError } from "../client/microphone";
import type { MicrophoneErrorCode } from "../client/microphone";

const MICROPHONE: Record<MicrophoneErrorCode, string> = {
  insecure:
    "Browsers allow a microphone only on https pages and on localhost. Open this page over https, " +
    "or on the machine that runs Salon. You can type meanwhile.",
  unsupported: "This browser cannot use a microphone here. You can type instead.",
  blocked:
    "The microphone is blocked. Allow it for this page in the browser's address bar, then press " +
    "Talk again.",
  missing: "No microphone was found. Plug one in and press Talk again, or type.",
  busy: "The microphone is in use by another program. Close that and press Talk again.",
  failed: "The microphone did not start.",
};

/** Why a connection failed, as far as the server can still be asked. */
export type Trouble = "login" | "room" | "other";

export interface Diagnosis {
  trouble: Trouble;
  words: string;
}

/** An error of the microphone, or any other, in words. */
export function inWords(error: unknown): string {
  if (error instanceof MicrophoneError) {
    const words = MICROPHONE[error.code];
    return error.code === "failed" && error.message ? `${words} (${error.message})` : words;
  }
  if (error instanceof CallError) {
    if (error.code === "timeout") return "The server took the call but did not answer it.";
    if (error.code === "rejected") return `The call could not begin: ${error.message}`;
    if (error.code === "media") return `No sound got through by WebRTC: ${error.message}.`;
    return "The call did not begin.";
  }
  return error instanceof Error ? error.message : String(error);
}

/** A browser does not say why a WebSocket failed, so ask over HTTP. */
export async function diagnose(api: SalonApi, room: string, call: boolean): Promise<Diagnosis> {
  try {
    const info = await api.info();
    if (info.auth === "required") return { trouble: "login", words: "Salon asks for its key." };
    const health = await api.health();
    if (call && health.calls >= health.max_calls) {
      const lines = health.max_calls === 1 ? "The only line is" : `All ${health.max_calls} lines are`;
      return { trouble: "other", words: `${lines} busy. Try again in a moment, or type.` };
    }
    if (health.status !== "ok") {
      return { trouble: "other", words: "The server is starting or closing. Try again in a moment." };
    }
    if (!(await api.hasRoom(room))) {
      return { trouble: "room", words: "This room does not exist. Open a new room." };
    }
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) {
      return { trouble: "other", words: "The server cannot be reached." };
    }
    return { trouble: "other", words: inWords(error) };
  }
  return { trouble: "other", words: "The connection failed. Try again in a moment." };
}

const REASONS: Record<string, string> = {
  autohangup: "The agent ended the call.",
  system: "The server ended the call.",
  inactivityTimeout: "The call ended because nothing was heard.",
  serverUnavailable: "The server became unavailable.",
  failed: "The call failed.",
};

/** Why a call ended, if the user did not end it. */
export function hangupInWords(reason: string): string {
  return REASONS[reason] ?? (reason && reason !== "caller" ? `The call ended: ${reason}.` : "");
}
