/** What has a default: how rows that are there already are met, what is done with bad ones, how the file is written. */
import { Field } from "../../ui/field";
import { type Dialect, DialectFields } from "./dialect";
import type { Mapped } from "./mapping";
import { More } from "./more";
import type { Options } from "./queue";
import type { Place } from "./targets";

export interface Choices {
  mode: "" | NonNullable<Options["mode"]>;
  checksOnly: boolean;
  wholeOnly: boolean;
  mostErrors: string;
  mostPercent: string;
  onDrift: "" | "warn" | "hold";
  retention: "" | NonNullable<Options["retention"]>;
  email: string;
  webhook: string;
  refusesAgain: boolean;
  sheet: string;
  dialect: Dialect;
}

export const DEFAULTS: Choices = {
  mode: "",
  checksOnly: false,
  wholeOnly: false,
  mostErrors: "",
  mostPercent: "",
  onDrift: "",
  retention: "",
  email: "",
  webhook: "",
  refusesAgain: true,
  sheet: "",
  dialect: {},
};

/** As the API takes them; what is as it is by default is left out. */
export function options(choices: Choices, isMaking: boolean, mapped: Mapped): Options {
  const { mode, checksOnly, wholeOnly, mostErrors, mostPercent, onDrift, refusesAgain, sheet, dialect } = choices;
  const found: Options = {};
  if (Object.keys(dialect).length) found.dialect = dialect;
  if (sheet.trim()) found.sheet = /^[1-9]\d*$/.test(sheet.trim()) ? Number(sheet) : sheet.trim();
  if (choices.retention) found.retention = choices.retention;
  const { email, webhook } = choices;
  if (email || webhook) found.notify = { ...(email && { email }), ...(webhook && { webhook }) };
  if (isMaking) return found;
  if (mode) found.mode = mode;
  if (Object.keys(mapped).length) found.mapping = mapped;
  if (checksOnly) found.validate_only = true;
  if (wholeOnly) found.on_error = "abort";
  if (mostErrors !== "") found.max_errors = Number(mostErrors);
  if (mostPercent !== "") found.max_error_percent = Number(mostPercent);
  if (onDrift) found.on_drift = onDrift;
  if (refusesAgain) found.on_duplicate_file = "reject";
  return found;
}

/** What cannot be sent as it is, by the place where it is said. */
export function wrong({ mostPercent, email }: Choices): { mostPercent?: string; email?: string } {
  return {
    ...(mostPercent !== "" && !(Number(mostPercent) <= 100) && { mostPercent: "A number from 0 to 100." }),
    ...(email && !/^[\x21-\x7e]+@[A-Za-z0-9.-]+$/.test(email) && { email: "An e-mail address, in ASCII." }),
  };
}

interface Props {
  choices: Choices;
  place: Place | null;
  isMaking: boolean;
  onChange: (choices: Choices) => void;
}

export function OptionFields({ choices, place, isMaking, onChange }: Props) {
  const set = (what: Partial<Choices>) => onChange({ ...choices, ...what });
  const keyless = place !== null && !place.hasKey;
  return (
    <details class="more">
      <summary>Options</summary>
      {!isMaking && (
        <>
          <Tick
            label="Only check: load when I have seen what would be rejected"
            on={choices.checksOnly}
            set={(checksOnly) => set({ checksOnly })}
          />
          <Tick
            label="All or nothing: one rejected row, and none is loaded"
            on={choices.wholeOnly}
            set={(wholeOnly) => set({ wholeOnly })}
          />
          <Tick
            label="Refuse a file that was sent before"
            on={choices.refusesAgain}
            set={(refusesAgain) => set({ refusesAgain })}
          />
        </>
      )}
      <div class="columns">
        {!isMaking && (
          <>
            <Field
              label="Rows that are there already"
              hint={keyless ? "The dataset has no key by which rows could be known again." : undefined}
            >
              <select
                value={keyless ? "" : choices.mode}
                disabled={keyless}
                onChange={(event) => set({ mode: event.currentTarget.value as Choices["mode"] })}
              >
                <option value="">{place ? `by default: ${MODES[place.mode]}` : "by default"}</option>
                <option value="insert">{MODES.insert}</option>
                <option value="skip">{MODES.skip}</option>
                <option value="upsert">{MODES.upsert}</option>
              </select>
            </Field>
            <Field label="Most rejected rows" hint="With more than these the upload fails and loads nothing.">
              <input
                inputMode="numeric"
                placeholder="as many as there are"
                value={choices.mostErrors}
                onInput={({ currentTarget: { value } }) => set({ mostErrors: value.replace(/\D/g, "").slice(0, 15) })}
              />
            </Field>
          </>
        )}
        <Field label="Sheet" hint="Of a workbook: a name, or a number from 1.">
          <input
            value={choices.sheet}
            maxLength={255}
            placeholder="the first one"
            onInput={(event) => set({ sheet: event.currentTarget.value })}
          />
        </Field>
      </div>
      <fieldset>
        <legend>How the file is written</legend>
        <DialectFields value={choices.dialect} found={{}} onChange={(dialect) => set({ dialect })} />
      </fieldset>
      <More choices={choices} isMaking={isMaking} set={set} />
    </details>
  );
}

const MODES = { insert: "reject them", skip: "skip them", upsert: "update them" };

function Tick({ label, on, set }: { label: string; on: boolean; set: (on: boolean) => void }) {
  return (
    <label class="tick">
      <input type="checkbox" checked={on} onChange={(event) => set(event.currentTarget.checked)} />
      {label}
    </label>
  );
}
