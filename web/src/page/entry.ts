import type { RoomEvent } from "../client/protocol";
import { create } from "./dom";

export type Role = "agent" | "human" | "room";

export interface Entry {
  role: Role;
  own: boolean;
  name: string;
  text: string;
  time?: Date;
  /** What became of it, if it is not whole. */
  mark?: string;
}

/** Who is who, as far as the page knows. */
export interface Cast {
  participant: string;
  agentName: string;
}

/** What the page shows of an event, or undefined if that is nothing. */
export function entryOf(event: RoomEvent, cast: Cast): Entry | undefined {
  const text = event.content?.body;
  if (typeof text !== "string" || !text) return undefined;
  if (event.status === "blocked" || event.visibility === "internal") return undefined;
  const created = new Date(event.created_at);
  const time = Number.isNaN(created.getTime()) ? {} : { time: created };
  if (event.type === "system" && event.content.code === "agent_failed") {
    return { role: "room", own: false, name: "Error", text, ...time };
  }
  if (event.type !== "message") return undefined;
  const role = roleOf(event.source.channel_type);
  const own = role === "human" && event.source.participant_id === cast.participant;
  const given = event.metadata?.sender_name;
  const name = typeof given === "string" && given ? given : role === "agent" ? cast.agentName : "Guest";
  const mark = markOf(event.metadata ?? {});
  return {
    role,
    own,
    name: own ? "You" : name,
    text,
    ...(mark ? { mark } : {}),
    ...time,
  };
}

function markOf(metadata: Record<string, unknown>): string {
  if (metadata.failed === true) return "cut off by an error";
  if (metadata.interrupted === true) return "interrupted";
  return metadata.truncated === true ? "too long, cut off here" : "";
}

export function roleOf(channelType: string | undefined): Role {
  return channelType === "ai" ? "agent" : "human";
}

/** Fill `element` with an entry. */
export function fillEntry(element: HTMLElement, entry: Entry): HTMLElement {
  element.className = "entry";
  element.dataset.role = entry.role;
  element.dataset.own = String(entry.own);
  const header = create("header");
  header.append(create("span", "name", entry.name));
  if (entry.time) {
    const time = create("time", "", clock(entry.time));
    time.dateTime = entry.time.toISOString();
    header.append(time);
  }
  if (entry.mark) header.append(create("span", "mark", entry.mark));
  element.replaceChildren(header, create("p", "", entry.text));
  return element;
}

/** The hour, with the day if it is another one. */
function clock(time: Date): string {
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString(
    [],
    today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" },
  );
}
