import { describe, expect, it } from "vitest";
import { AgentHeard } from "../src/page/agent-heard";

describe("AgentHeard", () => {
  it("is told of an agent's sound, not of other people's", () => {
    const told: boolean[] = [];
    const heard = new AgentHeard((on) => told.push(on));
    heard.sound(true);
    heard.sound(false);
    expect(told).toEqual([]);
    heard.track(true);
    expect(told).toEqual([]);
    heard.sound(true);
    heard.sound(true);
    expect(told).toEqual([true]);
    heard.track(false); // somebody else goes on
    expect(told).toEqual([true, false]);
  });

  it("forgets with the call", () => {
    const told: boolean[] = [];
    const heard = new AgentHeard((on) => told.push(on));
    heard.track(true);
    heard.sound(true);
    heard.reset();
    heard.sound(true);
    expect(told).toEqual([true, false]);
  });
});
