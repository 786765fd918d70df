/** How a file is written, where somebody knows better than what is detected. */
import type { Schema } from "../../api";
import { Field } from "../../ui/field";

export type Dialect = Schema<"Dialect">;

const DELIMITERS: Record<string, string> = {
  ",": "comma ,",
  ";": "semicolon ;",
  "\t": "tab",
  "|": "bar |",
  " ": "space",
  ":": "colon :",
};
const ENCODINGS = ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"] as const;
const ORDERS = { ymd: "2024/03/31", dmy: "31/03/2024", mdy: "03/31/2024" } as const;

interface Props {
  /** What is declared. */
  value: Dialect;
  /** What was found, of a file that was read. */
  found: Dialect;
  onChange: (dialect: Dialect) => void;
}

export function DialectFields({ value, found, onChange }: Props) {
  function set<Name extends keyof Dialect>(name: Name, one: Dialect[Name] | undefined): void {
    const { [name]: _, ...others } = value;
    onChange(one === undefined ? others : { ...others, [name]: one });
  }
  const detected = (name: keyof Dialect, words: Record<string, string> = {}): string => {
    if (!(name in found)) return "detected";
    const one = String(found[name] ?? "none");
    return `found: ${words[one] ?? one}`;
  };
  const kinds = { true: "names of columns", false: "the first row" };
  return (
    <div class="columns">
      <Field label="Between cells">
        <select
          value={value.delimiter ?? ""}
          onChange={(event) => set("delimiter", event.currentTarget.value || undefined)}
        >
          <option value="">{detected("delimiter", DELIMITERS)}</option>
          {Object.entries(DELIMITERS).map(([one, words]) => (
            <option key={one} value={one}>
              {words}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Encoding">
        <select
          value={value.encoding ?? ""}
          onChange={(event) => set("encoding", (event.currentTarget.value || undefined) as Dialect["encoding"])}
        >
          <option value="">{detected("encoding")}</option>
          {ENCODINGS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </Field>
      <Field label="The first line is">
        <select
          value={value.header === undefined ? "" : String(value.header)}
          onChange={({ currentTarget: { value: one } }) => set("header", one ? one === "true" : undefined)}
        >
          <option value="">{detected("header", kinds)}</option>
          <option value="true">{kinds.true}</option>
          <option value="false">{kinds.false}</option>
        </select>
      </Field>
      <Field label="Around cells">
        <select
          value={value.quote === undefined ? "" : (value.quote ?? "none")}
          onChange={({ currentTarget: { value: one } }) =>
            set("quote", one ? (one === "none" ? null : one) : undefined)
          }
        >
          <option value="">{detected("quote")}</option>
          <option value={'"'}>{'"'}</option>
          <option value="'">'</option>
          <option value="none">none</option>
        </select>
      </Field>
      <Field label="Decimals after">
        <select
          value={value.decimal_char ?? ""}
          onChange={(event) => set("decimal_char", event.currentTarget.value || undefined)}
        >
          <option value="">{detected("decimal_char")}</option>
          <option value=".">a point: 1.5</option>
          <option value=",">a comma: 1,5</option>
        </select>
      </Field>
      <Field label="Dates as">
        <select
          value={value.date_order ?? ""}
          onChange={(event) => set("date_order", (event.currentTarget.value || undefined) as Dialect["date_order"])}
        >
          <option value="">{detected("date_order", ORDERS)}</option>
          {Object.entries(ORDERS).map(([one, words]) => (
            <option key={one} value={one}>
              {words}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Units beside numbers" hint="Blanks between several: EUR € kg">
        <input
          placeholder={value.units ? "none" : detected("units")}
          value={value.units?.join(" ") ?? ""}
          onChange={({ currentTarget: { value: one } }) =>
            set("units", one.trim() ? one.trim().split(/\s+/) : undefined)
          }
        />
      </Field>
      <Field label="Lines before the table">
        <input
          type="number"
          min={0}
          max={10000}
          placeholder={detected("skip_lines")}
          value={value.skip_lines ?? ""}
          onInput={({ currentTarget: { value: one } }) => set("skip_lines", one === "" ? undefined : Number(one))}
        />
      </Field>
    </div>
  );
}
