/** The columns of a dataset that is being made: what each holds, whether it may be empty, and what a row is known by. */

import { Field } from "../../ui/field";
import type { Fields } from "./targets";

export type Kept = Fields[number] & { isKey: boolean };

const TYPES: Record<string, string> = {
  string: "text",
  email: "text: an e-mail address",
  integer: "whole number",
  number: "number",
  boolean: "yes or no",
  date: "day",
  datetime: "day and time",
  time: "time of day",
  year: "year",
  duration: "length of time",
  object: "JSON object",
  array: "JSON array",
  geopoint: "longitude, latitude",
};

interface Props {
  fields: Kept[];
  /** As they were found. */
  found: Fields;
  onChange: (fields: Kept[]) => void;
}

export function FieldRows({ fields, found, onChange }: Props) {
  const set = (place: number, one: Kept) => onChange(fields.map((old, at) => (at === place ? one : old)));
  return (
    <ul class="fields">
      {fields.map((field, place) => (
        <li key={field.name}>
          <span class="name">{field.name}</span>
          <Field label={`Type of ${field.name}`} quiet>
            <select
              value={kind(field)}
              onChange={(event) => set(place, turned(field, event.currentTarget.value, found[place]!))}
            >
              {Object.entries(TYPES).map(([type, words]) => (
                <option key={type} value={type}>
                  {words}
                </option>
              ))}
            </select>
          </Field>
          <Check
            label="Required"
            of={field.name}
            on={field.isKey || Boolean(field.constraints?.required)}
            off={field.isKey}
            set={(on) => set(place, required(field, on))}
          />
          <Check label="Key" of={field.name} on={field.isKey} set={(isKey) => set(place, { ...field, isKey })} />
        </li>
      ))}
    </ul>
  );
}

function Check({
  label,
  of,
  on,
  off,
  set,
}: {
  label: string;
  of: string;
  on: boolean;
  off?: boolean;
  set: (on: boolean) => void;
}) {
  return (
    <label class="tick">
      <input
        type="checkbox"
        aria-label={`${of}: ${label}`}
        checked={on}
        disabled={off}
        onChange={(event) => set(event.currentTarget.checked)}
      />
      {label}
    </label>
  );
}

function kind(field: Fields[number]): string {
  return field.format === "email" ? "email" : (field.type ?? "string");
}

/** Of another type: formats and rules of the one that was found are not its own. */
function turned(field: Kept, to: string, found: Fields[number]): Kept {
  const { isKey, constraints } = field;
  const isRequired = Boolean(constraints?.required);
  if (to === kind(found)) return required({ ...found, isKey }, isRequired);
  const fresh = to === "email" ? { type: "string", format: "email" } : { type: to };
  return required({ name: field.name, ...fresh, isKey }, isRequired);
}

function required(field: Kept, on: boolean): Kept {
  const { required: _, ...others } = field.constraints ?? {};
  const constraints = on ? { ...others, required: true } : others;
  const { constraints: __, ...bare } = field;
  return (Object.keys(constraints).length ? { ...bare, constraints } : bare) as Kept;
}
