/** One rejected row, cell by cell, each with what is wrong with it; corrected here, kept until all are sent. */
import { useState } from "preact/hooks";
import { count } from "../../format";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Field, hasBreaks } from "../../ui/field";
import { Notice } from "../../ui/notice";
import { cells, type FileColumn, type Marks } from "./record";
import type { Reject } from "./rejects";
import type { Edits } from "./unsent";

interface Props {
  reject: Reject;
  columns: FileColumn[];
  marks: Marks;
  /** What was corrected before. */
  held?: string[];
  /** What was typed and neither kept nor given up, of a line that one has gone away from. */
  typed: Edits;
  editable: boolean;
  hasNext: boolean;
  /** null: as it was. */
  onKeep: (row: number, values: string[] | null) => void;
  onNext: () => void;
  onClose: () => void;
}

/** How the API shows a byte of a cell that is not UTF-8: sent back so it would be these four letters. */
const BYTE = /\\x[0-9a-f]{2}/;

export function Editor({ reject, columns, marks, held, typed, editable, hasNext, onKeep, onNext, onClose }: Props) {
  const found = cells(reject.raw, marks);
  const before = columns.map((one) => found[one.place] ?? "");
  const [values, setValues] = useState(typed.get(reject.row) ?? held ?? before);
  const known = new Set(columns.flatMap((one) => [one.field, one.name]));
  const rest = reject.errors.filter((one) => one.column === null || !known.has(one.column));
  const may = editable && !reject.raw_truncated && columns.length > 0;
  const [asked, setAsked] = useState(false);
  const errorsOf = (one: FileColumn) =>
    reject.errors.filter((error) => error.column === one.field || error.column === one.name);
  const told = (one: FileColumn) =>
    errorsOf(one)
      .map((error) => error.detail)
      .join("; ");
  const hasBytes = (one: FileColumn, place: number) =>
    BYTE.test(values[place] ?? "") && errorsOf(one).some((error) => error.code === "encoding_invalid");
  function type(place: number, value: string): void {
    const next = values.toSpliced(place, 1, value);
    typed.set(reject.row, next);
    setValues(next);
  }
  function keep(): void {
    setAsked(true);
    if (columns.some(hasBytes)) return;
    onKeep(reject.row, values.some((value, place) => value !== before[place]) || rest.length ? values : null);
    announce(`Line ${reject.line} is kept as corrected.`);
    if (hasNext) onNext();
    else onClose();
  }
  return (
    <Dialog open wide title={`Line ${count(reject.line)}`} onClose={onClose}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is to be reached by the keyboard */}
      <section class="raw" tabIndex={0} aria-label="The row as it stood in the file">
        <pre>{reject.raw}</pre>
      </section>
      {rest.length > 0 && (
        <Notice kind="error">
          <ul>
            {rest.map((one) => (
              <li key={`${one.column} ${one.code} ${one.detail}`}>
                {one.column && <strong>{one.column} </strong>}
                {one.detail}
              </li>
            ))}
          </ul>
        </Notice>
      )}
      {editable && !columns.length && (
        <p class="quiet">The file has too many columns to correct a row of it here: download the rejected rows.</p>
      )}
      {reject.raw_truncated && <p class="quiet">The row is too long to be shown whole: download it to correct it.</p>}
      <form
        class="editor"
        onSubmit={(event) => {
          event.preventDefault();
          keep();
        }}
      >
        <div class="cells">
          {columns.map((one, place) => (
            <Field
              key={one.place}
              label={one.name}
              hint={
                hasBytes(one, place)
                  ? "\\x and two digits stand for a byte that is no text: write what is meant."
                  : undefined
              }
              error={asked && hasBytes(one, place) ? "There is still such a byte in it." : told(one) || null}
            >
              <Cell
                long={hasBreaks(before[place]!)}
                value={values[place]!}
                readOnly={!may}
                onValue={(value) => type(place, value)}
              />
            </Field>
          ))}
        </div>
        <div class="buttons">
          {may && (
            <Button kind="primary" submit>
              {hasNext ? "Keep, and the next" : "Keep"}
            </Button>
          )}
          {hasNext && <Button onClick={onNext}>{may ? "Skip" : "Next"}</Button>}
          {held && (
            <Button
              onClick={() => {
                onKeep(reject.row, null);
                onClose();
              }}
            >
              As it was
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

interface Typed {
  long: boolean;
  value: string;
  readOnly: boolean;
  onValue: (value: string) => void;
}

function Cell({ long, onValue, ...wired }: Typed) {
  const common = { ...wired, autocomplete: "off", spellcheck: false } as const;
  return long ? (
    <textarea {...common} rows={4} onInput={(event) => onValue(event.currentTarget.value)} />
  ) : (
    <input {...common} onInput={(event) => onValue(event.currentTarget.value)} />
  );
}
