/**
 * Columns and fields. Those that share a name are brought together without a word; for each other column somebody says
 * what it is. What a name is most like is offered, and never taken by itself: it would load wrong values unseen.
 */
import { useEffect, useState } from "preact/hooks";
import { counted } from "../../format";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";
import { Notice } from "../../ui/notice";
import type { Column } from "./header";

/** Columns by their key to fields; null: left out. */
export type Mapped = Record<string, string | null>;

/** Columns that nothing is said of, neither by their name nor by anybody. */
export function unsaid(columns: Column[], mapped: Mapped): Column[] {
  return columns.filter((one) => !one.met && !(one.key in mapped));
}

interface Props {
  /** Named where there are several. */
  file: string | null;
  columns: Column[];
  fields: string[];
  mapped: Mapped;
  /** Whether somebody has tried to go on. */
  asked: boolean;
  onChange: (mapped: Mapped) => void;
}

export function Mapping({ file, columns, fields, mapped, asked, onChange }: Props) {
  const open = unsaid(columns, mapped);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (open.length) setShown(true);
  }, [open.length]);
  if (!columns.length) return null;
  const taken = columns.map((one) => fieldOf(one, mapped));
  const missing = fields.filter((field) => !taken.includes(field));
  const offered = open.filter((one) => one.alike);
  const say = (one: Column, field: string | null | undefined): void => {
    const { [one.key]: _, ...others } = mapped;
    onChange(field === undefined ? others : { ...others, [one.key]: field });
  };
  return (
    <details class="more" open={shown} onToggle={(event) => setShown(event.currentTarget.open)}>
      <summary>
        {file ? `Columns of ${file}` : "Columns"}
        <span class="quiet">
          {open.length
            ? ` ${counted(open.length, "column")} without a field`
            : ` ${counted(columns.length, "column")} matched`}
        </span>
      </summary>
      {offered.length > 0 && (
        <Notice
          title={offered.map((one) => `${one.name} is like ${one.alike}`).join(", ")}
          actions={
            <Button
              small
              onClick={() => onChange({ ...mapped, ...Object.fromEntries(offered.map((one) => [one.key, one.alike])) })}
            >
              {offered.length > 1 ? "Match them" : "Match it"}
            </Button>
          }
        />
      )}
      <div class="columns">
        {columns.map((one) => {
          const field = fieldOf(one, mapped);
          const twice = field && taken.filter((each) => each === field).length > 1;
          const lacks = asked && open.includes(one) ? "Choose its field, or leave the column out." : null;
          return (
            <Field
              key={one.key}
              label={one.name || `Column ${one.key}`}
              error={twice ? "Two columns have this field." : lacks}
            >
              <select
                value={field === undefined ? "?" : field === null ? "-" : `=${field}`}
                onChange={({ currentTarget: { value } }) =>
                  say(one, value === "?" || value === `=${one.met}` ? undefined : value === "-" ? null : value.slice(1))
                }
              >
                {!one.met && <option value="?">Choose a field…</option>}
                <option value="-">Leave this column out</option>
                {fields.map((name) => (
                  <option key={name} value={`=${name}`}>
                    {name}
                  </option>
                ))}
              </select>
            </Field>
          );
        })}
      </div>
      {missing.length > 0 && (
        <Notice kind="warning" title={`No column for ${missing.join(", ")}`}>
          The file would be refused: every field of the dataset needs a column, if only an empty one.
        </Notice>
      )}
    </details>
  );
}

function fieldOf(one: Column, mapped: Mapped): string | null | undefined {
  return one.key in mapped ? mapped[one.key] : (one.met ?? undefined);
}
