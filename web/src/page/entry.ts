import type { RoomEvent } from "../client/protocol";
import { create } from "./dom";

export type Role = "agent" | "human";

export interface Entry {
  role: Role;
  own: boolean;
  name: string;
  text: string;
  time?: Date;
  interrupted?: boolean;
}

/** Who is who, as far as the page knows. */
export interface Cast {
  participant: string;
  agentName: string;
}

/** What the page shows of an event, or undefined if that is nothing. */
export function entryOf(event: RoomEvent, cast: Cast): Entry | undefined {
  const text = event.content?.body;
  if (event.type !== "message" || typeof text !== "string" || !text) return undefined;
  if (event.status === "blocked" || event.visibility === "internal") return undefined;
  const role = roleOf(event.source.channel_type);
  const own = role === "human" && event.source.participant_id === cast.participant;
  const given = event.metadata?.sender_name;
  const name = typeof given === "string" && given ? given : role === "agent" ? cast.agentName : "Guest";
  const time = new Date(event.created_at);
  return {
    role,
    own,
    name: own ? "You" : name,
    text,
    interrupted: event.metadata?.interrupted === true,
    ...(Number.isNaN(time.getTime()) ? {} : { time }),
  };
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
  if (entry.interrupted) header.append(create("span", "mark", "interrupted"));
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
