/** One row to be made, changed or deleted; what the checks of the dataset refuse is told at its field. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api } from "../../api";
import { Problem } from "../../http";
import { Button } from "../../ui/button";
import { Field, hasBreaks } from "../../ui/field";
import { Failure } from "../../ui/notice";
import { Picture } from "./picture";
import { type Dataset, type Field as Described, fieldsOf, identityOf, keyOf, type Row, shown } from "./schema";

interface Props {
  dataset: Dataset;
  name: string;
  /** null: a new one. */
  row: Row | null;
  onDone: (changed: boolean) => void;
}

export function RowForm({ dataset, name, row, onDone }: Props) {
  const { busy, error, act: attempt } = useDoing();
  const [sure, setSure] = useState(false);
  const fields = fieldsOf(dataset);
  const at = row && keyOf(dataset, row);
  const wrong = error instanceof Problem ? error.fields : null;
  const atField = fields.some((one) => wrong?.[one.name]);
  const form = useRef<HTMLFormElement>(null);
  // Of many fields the one that is refused may be far from the button that was pressed.
  useEffect(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus(), [error]);

  async function act(what: "save" | "delete", doing: () => Promise<unknown>, done: string): Promise<void> {
    if (await attempt(what, doing, done)) onDone(true);
  }
  function save(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const body = changedIn(fields, form, row);
    if (at === null)
      act("save", () => api.post("/v1/datasets/{name}/rows", { path: { name }, body }), "The row is in.");
    else
      act(
        "save",
        () => api.patch("/v1/datasets/{name}/rows/{key}", { path: { name, key: at }, body }),
        "The row is changed.",
      );
  }
  const remove = () =>
    act(
      "delete",
      () => api.delete("/v1/datasets/{name}/rows/{key}", { path: { name, key: at! } }),
      "The row is deleted.",
    );

  const writes = dataset.role !== "reader";
  return (
    <>
      {error && !atField && <Failure error={error} />}
      <form ref={form} class="dialog-form" onSubmit={save} noValidate>
        {fields.map((one) => (
          <Field key={one.name} label={one.name} hint={hintOf(one)} error={wrong?.[one.name]}>
            <Control field={one} value={shown(row?.[one.name])} />
          </Field>
        ))}
        {writes && (
          <div class="buttons">
            <Button kind="primary" submit busy={busy === "save"}>
              {row ? "Save" : "Add it"}
            </Button>
            {row && !sure && (
              <Button kind="danger" onClick={() => setSure(true)}>
                Delete
              </Button>
            )}
            {row && sure && (
              <Button kind="danger" busy={busy === "delete"} onClick={remove}>
                Yes, delete this row
              </Button>
            )}
          </div>
        )}
      </form>
      {at !== null && identityOf(dataset) && <Picture name={name} at={at} writes={writes} />}
    </>
  );
}

function Control({ field, value, ...wired }: { field: Described; value: string }) {
  const common = { ...wired, name: control(field.name), defaultValue: value, required: field.constraints.required };
  const choices = choicesOf(field);
  if (choices) {
    // What only rules changed since would refuse is there still, and goes if the list does not have it.
    if (value && !choices.includes(value)) choices.unshift(value);
    return (
      <select {...common}>
        <option value="" />
        {choices.map((one) => (
          <option key={one} value={one} selected={one === value}>
            {one}
          </option>
        ))}
      </select>
    );
  }
  const isLong = field.type === "object" || field.type === "array" || (field.constraints.maxLength ?? 0) > 1000;
  if (isLong || hasBreaks(value)) return <textarea {...common} rows={4} />;
  return <input {...common} type={field.format === "email" ? "email" : "text"} spellcheck={false} />;
}

/** The values there are to choose from, if the schema spells them as rows do: other types' are spelled as in files. */
function choicesOf({ type, constraints }: Described): string[] | null {
  if (type === "boolean") return ["true", "false"];
  const isSo = type === "string" || constraints.enum?.every((one) => typeof one === "number");
  return (isSo && constraints.enum?.map(String)) || null;
}

/** What is new, by field; of a new row what has a value. Text: the service reads it as the field's type. */
function changedIn(fields: Described[], form: FormData, row: Row | null): Row {
  const typed = fields.map(({ name }) => [name, unified(String(form.get(control(name)) ?? ""))] as const);
  const wanted = typed.filter(([name, text]) => (row ? text !== unified(shown(row[name])) : text !== ""));
  return Object.fromEntries(wanted.map(([name, text]) => [name, text === "" ? null : text]));
}

/** The name of a field's control: a form's own properties are hidden by controls that are called like them. */
function control(field: string): string {
  return `field ${field}`;
}

/** With the line breaks that a control has. */
function unified(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

function hintOf({ type, format, constraints, description }: Described): string | undefined {
  const kinds: Record<string, string> = {
    date: "A date, such as 2026-11-29",
    datetime: "A moment, such as 2026-11-29T12:00:00Z",
    time: "A time, such as 12:00:00",
    integer: "A whole number",
    number: "A number",
    object: "A JSON object",
    array: "A JSON list",
  };
  const kind = format === "email" ? "An e-mail address" : kinds[type];
  const parts = [kind, constraints.required && "required", constraints.unique && "no other row may have it"];
  const rules = parts.filter(Boolean).join(", ");
  const told = rules && `${rules[0]!.toUpperCase()}${rules.slice(1)}.`;
  return [description, told].filter(Boolean).join(" ") || undefined;
}
