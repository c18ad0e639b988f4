/** Where the built worklets are: plain files beside this library. */
import microphone from "../worklets/microphone.ts?worker&url";
import speaker from "../worklets/speaker.ts?worker&url";

export const MICROPHONE_WORKLET: string = microphone;
export const SPEAKER_WORKLET: string = speaker;
