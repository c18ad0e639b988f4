import type { SalonApi } from "../client/api";
import { byId } from "./dom";
import { inWords } from "./words";

/** Ask for the key until it is right. */
export function login(api: SalonApi): Promise<void> {
  const form = byId<HTMLFormElement>("login");
  const key = byId<HTMLInputElement>("key");
  const error = byId("login-error");
  form.hidden = false;
  byId("app").hidden = true;
  key.focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      error.textContent = "";
      try {
        await api.login(key.value);
      } catch (failure) {
        error.textContent = `That did not work: ${inWords(failure)}.`;
        key.select();
        return;
      }
      key.value = "";
      form.hidden = true;
      byId("app").hidden = false;
      resolve();
    };
  });
}
