/**
 * A file that makes its dataset, as it was understood: its first rows, how it is written, what its columns hold. All of
 * it may be corrected: columns at once, for nothing is loaded yet; how it is written by sending it once more.
 */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { legible } from "../../format";
import { isLegal } from "../../journey";
import { usePoll } from "../../live";
import { go } from "../../router";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";
import { Failure, Notice } from "../../ui/notice";
import { Progress } from "../../ui/progress";
import type { Upload } from "../watch/verbs";
import { type Dialect, DialectFields } from "./dialect";
import { FieldRows, type Kept } from "./fields";
import { add, discard, files } from "./queue";

type Found = NonNullable<Upload["review"]>;

export function Review({ id }: { id: string }) {
  const { value: upload, error } = usePoll("/v1/uploads/{upload_id}", { path: { upload_id: id } });
  if (!upload)
    return error ? <Failure error={error} title="This upload cannot be shown." /> : <Reads name="the file" />;
  if (upload.state === "needs_review" && upload.review) return <Looked upload={upload} found={upload.review} />;
  const isUnderWay = upload.state !== "needs_review" && isLegal("cancel", upload.state);
  if (isUnderWay && !upload.loaded) return <Reads name={legible(upload.filename)} percent={upload.percent} />;
  return (
    <Notice
      kind={upload.error ? "error" : "info"}
      title={upload.error ? "The file could not be read as a table." : "There is nothing to look over any more."}
      actions={<Button href={`#/uploads/${id}`}>To the upload</Button>}
    >
      {upload.error?.detail}
    </Notice>
  );
}

function Reads({ name, percent = null }: { name: string; percent?: number | null }) {
  return (
    <section class="card" aria-busy="true">
      <h1>
        Reading <bdi>{name}</bdi>
      </h1>
      <p class="quiet">
        All of it is looked at, so that what is found of a column holds for every row. Nothing is loaded before you say
        so.
      </p>
      <Progress value={percent || null} label={`${name}, read`} />
    </section>
  );
}

function Looked({ upload, found }: { upload: Upload; found: Found }) {
  const [fields, setFields] = useState<Kept[]>(() => found.schema.fields.map((field) => ({ ...field, isKey: false })));
  const [mode, setMode] = useState<NonNullable<Schema<"Confirmation">["mode"]>>("insert");
  const [dialect, setDialect] = useState<Dialect>({});
  const { busy, error, act } = useDoing();
  const keys = fields.filter((field) => field.isKey).map((field) => field.name);
  const again = Object.keys(dialect).length > 0;
  const kept = files.get(upload.id);

  async function confirm(): Promise<void> {
    const schema = { ...found.schema, fields: fields.map(({ isKey: _, ...field }) => field) };
    const body = {
      dataset: upload.dataset,
      schema: keys.length ? { ...schema, primaryKey: keys } : schema,
      mode: keys.length ? mode : "insert",
    };
    await api.post("/v1/uploads/{upload_id}/confirm", {
      path: { upload_id: upload.id },
      body: body as Schema<"Confirmation">,
    });
    files.delete(upload.id);
    go(`/uploads/${upload.id}`, {}, true);
  }
  async function readAgain(): Promise<void> {
    await discard(upload.id);
    const said = { ...(upload.options.dialect as Dialect | undefined), ...kept?.options.dialect, ...dialect };
    if (kept) add([{ ...kept, options: { ...kept.options, dialect: said } }]);
    go("/upload", {}, true);
  }
  return (
    <div class="view upload">
      <div class="title">
        <div>
          <h1>{upload.dataset}</h1>
          <p class="quiet">
            Made from <bdi>{legible(upload.filename) || "a file"}</bdi>. Nothing is loaded before you say so.
          </p>
        </div>
        <div class="buttons">
          <Button kind="danger" onClick={() => act("again", () => discard(upload.id).then(() => go("/", {}, true)))}>
            Do not load it
          </Button>
          <Button kind="primary" busy={busy === "confirm"} disabled={again} onClick={() => act("confirm", confirm)}>
            Make the dataset and load
          </Button>
        </div>
      </div>
      <Failure error={error} title="The dataset could not be made so." />
      <section class="card" aria-labelledby="columns">
        <h2 id="columns">Columns</h2>
        <p class="quiet">
          Types are those that every value of the file fits. Rows that do not fit another one will be rejected.
        </p>
        <FieldRows fields={fields} found={found.schema.fields} onChange={setFields} />
        {keys.length > 0 && (
          <Field label="Rows of later files that are there already" hint={`A row is known by ${keys.join(" and ")}.`}>
            <select value={mode} onChange={(event) => setMode(event.currentTarget.value as typeof mode)}>
              <option value="insert">reject them</option>
              <option value="skip">skip them</option>
              <option value="upsert">update them</option>
            </select>
          </Field>
        )}
      </section>
      <section class="card" aria-labelledby="written">
        <h2 id="written">How the file is written</h2>
        <DialectFields value={dialect} found={(upload.dialect ?? found.dialect) as Dialect} onChange={setDialect} />
        {again && (
          <Notice
            kind="warning"
            title="The file is to be read again"
            actions={
              <>
                <Button onClick={() => setDialect({})}>Leave it as found</Button>
                <Button kind="primary" busy={busy === "again"} onClick={() => act("again", readAgain)}>
                  Send and read it again
                </Button>
              </>
            }
          >
            {kept
              ? "It is sent once more; what was found of its columns is found anew."
              : "Choose it again on the next page, and say there under “Options” how it is written."}
          </Notice>
        )}
      </section>
      <section class="card" aria-labelledby="first">
        <h2 id="first">First rows</h2>
        <First names={found.schema.fields.map((field) => field.name)} rows={found.rows} />
      </section>
    </div>
  );
}

function First({ names, rows }: { names: string[]; rows: string[][] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is to be reached by the keyboard
    <section class="first" aria-label="First rows of the file" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <tr key={place}>
              {names.map((name, at) => (
                <td key={name}>{row[at]}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
