/** What an upload came to: every row of its file in one of three sets, why rows are out, and what can be done. */
import { count, counted, duration, exactly, legible } from "../../format";
import { usePoll } from "../../live";
import { href } from "../../router";
import { State } from "../../ui/state";
import { Fact, Money } from "../watch/figures";
import { Drift } from "../watch/review";
import type { Upload } from "../watch/verbs";
import { Causes } from "./causes";
import { Receipt } from "./receipt";
import { Rejects } from "./rejects";
import { Undo } from "./undo";
import "./result.css";

interface Shown {
  upload: Upload;
  refresh: () => void;
}

export function Result({ upload, refresh }: Shown) {
  const { timings, rows_total } = upload;
  const pace = rows_total && timings.stored_to_completed_s ? rows_total / timings.stored_to_completed_s : null;
  return (
    <>
      {rows_total !== null && (
        <section class="card" aria-label="Result">
          <Sets upload={upload} />
          <dl class="facts">
            <Fact name="Rows visible">{count(upload.rows_visible)}</Fact>
            {timings.stored_to_completed_s !== null && upload.state !== "reverted" && (
              <Fact name="Took">
                {duration(timings.stored_to_completed_s)}
                {pace !== null && <small> {count(Math.round(pace))} rows/s</small>}
              </Fact>
            )}
            <Fact name="Cost">
              <Money cost={upload.cost} />
            </Fact>
            {upload.expires_at && (
              <Fact name="File and rejects kept until">
                <time dateTime={upload.expires_at}>{exactly(upload.expires_at)}</time>
              </Fact>
            )}
          </dl>
        </section>
      )}
      {upload.drift && <Drift drift={upload.drift} />}
      <Children ids={upload.children} />
      {upload.rejected > 0 && <Rejected upload={upload} refresh={refresh} />}
      <Undo upload={upload} refresh={refresh} />
      {upload.timings.stored_at && <Receipt upload={upload} />}
    </>
  );
}

/** Why rows are out, and the rows. */
export function Rejected({ upload, refresh }: Shown) {
  return (
    <>
      <Causes upload={upload} refresh={refresh} />
      <Rejects upload={upload} />
    </>
  );
}

function Sets({ upload }: { upload: Upload }) {
  const { loaded, updated, skipped, rejected, unprocessed } = upload;
  const total = upload.rows_total ?? 0;
  const sets: [look: string, name: string, rows: number][] = [
    ["in", upload.state === "reverted" ? "were in" : "in", loaded + updated + skipped],
    ["out", "rejected", rejected],
    ["left", "unprocessed", unprocessed],
  ];
  const kinds = [
    [loaded, "loaded"],
    [updated, "updated"],
    [skipped, "skipped: they were there"],
  ] as const;
  const parts = kinds.filter(([rows]) => rows > 0).map(([rows, words]) => `${count(rows)} ${words}`);
  return (
    <>
      <h2>
        {counted(total, "row")} <span class="quiet">in the file</span>
      </h2>
      <div
        class="sets"
        role="img"
        aria-label={`${counted(total, "row")}: ${sets.map(([, name, rows]) => `${count(rows)} ${name}`).join(", ")}`}
      >
        {sets.map(([look, , rows]) => rows > 0 && <div key={look} class={look} style={{ flexGrow: rows }} />)}
      </div>
      <ul class="sum">
        {sets.map(([look, name, rows], place) => (
          <li key={look}>
            {place > 0 && <span class="plus">+</span>}
            <span>
              <strong>{count(rows)}</strong>
              <span>
                <i class={`square ${look}`} aria-hidden="true" /> {name}
              </span>
              {look === "in" && parts.length > 0 && <small class="quiet">{parts.join(", ")}</small>}
              {look === "out" && upload.resolved !== null && upload.resolved > 0 && (
                <small class="quiet">
                  {count(upload.resolved)} have come in since, {count(upload.rejected_open ?? 0)} are open
                </small>
              )}
            </span>
          </li>
        ))}
        <li>
          <span class="plus">=</span>
          <span>
            <strong>{count(total)}</strong>
            <span>rows</span>
          </span>
        </li>
      </ul>
    </>
  );
}

function Children({ ids }: { ids: string[] }) {
  if (!ids.length) return null;
  return (
    <section class="card">
      <h2>Corrections</h2>
      <ul class="children">
        {ids.map((id) => (
          <Child key={id} id={id} />
        ))}
      </ul>
    </section>
  );
}

function Child({ id }: { id: string }) {
  const { value } = usePoll("/v1/uploads/{upload_id}", { path: { upload_id: id } });
  return (
    <li>
      <a href={href(`/uploads/${id}`)}>{legible(value?.filename ?? "") || id}</a>
      {value && <State of={value.state} />}
      {value && value.rows_total !== null && (
        <span class="quiet">
          {count(value.loaded + value.updated + value.skipped)} of {counted(value.rows_total, "row")} in
        </span>
      )}
    </li>
  );
}
