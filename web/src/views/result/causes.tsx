/** The few causes behind all rejects, with samples and the fix that was proved, which a button applies. */
import { useEffect, useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { count, counted } from "../../format";
import { usePoll } from "../../live";
import { go } from "../../router";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Failure } from "../../ui/notice";
import { Scrolls } from "../../ui/scrolls";
import { may, type Upload } from "../watch/verbs";

type Cause = Schema<"Cause">;

export function Causes({ upload, refresh }: { upload: Upload; refresh: () => void }) {
  const path = { upload_id: upload.id };
  const { value, error, refresh: again } = usePoll("/v1/uploads/{upload_id}/causes", { path });
  const { busy, error: refused, act } = useDoing(refresh);
  useEffect(again, [upload.state, upload.rejected]);
  const ready = may("retry", upload);
  const fixable = value?.causes.filter((one) => one.fix) ?? [];
  async function apply(fix: string[]): Promise<void> {
    await act(fix.join(), async () => {
      const child = await api.post("/v1/uploads/{upload_id}/retry", { path, body: { fix } });
      announce("The rows are read again.");
      go(`/uploads/${child.id}`);
    });
  }
  return (
    <section class="card causes">
      <div class="title">
        <h2>Why rows {upload.state === "needs_review" ? "would be" : "were"} rejected</h2>
        {ready && fixable.length > 1 && (
          <Button
            busy={busy === fixable.map((one) => one.id).join()}
            onClick={() => apply(fixable.map((one) => one.id))}
          >
            Apply all {fixable.length} fixes together
          </Button>
        )}
      </div>
      <Failure error={error} title="The causes could not be fetched." />
      <Failure error={refused} title="The fix was not applied." />
      <ol>
        {value?.causes.map((one) => (
          <li key={one.id}>
            <One
              cause={one}
              total={value.rejected}
              onApply={ready ? () => apply([one.id]) : undefined}
              busy={busy === one.id}
            />
          </li>
        ))}
      </ol>
      {value && value.causes_total > value.causes.length && (
        <p class="quiet">
          The {value.causes.length} most frequent of {count(value.causes_total)} causes.
        </p>
      )}
      <ByColumn upload={upload} />
    </section>
  );
}

interface Shown {
  cause: Cause;
  total: number;
  busy: boolean;
  onApply?: () => void;
}

function One({ cause, total, busy, onApply }: Shown) {
  const others = cause.rejects - cause.alone;
  return (
    <article>
      <div class="share" aria-hidden="true">
        <div style={{ transform: `scaleX(${total ? cause.rejects / total : 0})` }} />
      </div>
      <header>
        <h3>{cause.cause}</h3>
        <p class="quiet">
          <strong>{counted(cause.rejects, "row")}</strong>
          {others > 0 && `, ${count(others)} of them with another cause, too`}
          {cause.columns.length > 0 && (
            <>
              {" "}
              in <b>{cause.columns.slice(0, 5).join(", ")}</b>
              {cause.columns_total > 5 && ` and ${count(cause.columns_total - 5)} more`}
            </>
          )}
        </p>
      </header>
      <ul class="samples" aria-label="Samples">
        {cause.samples.map((one) => (
          <li key={`${one.row} ${one.column}`}>
            <span class="quiet">line {count(one.line)}</span>{" "}
            {one.value === null ? <em class="quiet">nothing</em> : <code>{one.value}</code>}
          </li>
        ))}
      </ul>
      {cause.fix ? (
        <div class="fix">
          <div>
            <p>
              Mended by{" "}
              {options(cause.fix).map((one) => (
                <code key={one}>{one}</code>
              ))}
            </p>
            {cause.proved && (
              <p class="quiet">
                Tried on {counted(cause.proved.sample, "row")}: mends {count(cause.proved.mended)}.
              </p>
            )}
          </div>
          {onApply && (
            <Button kind="primary" busy={busy} onClick={onApply} label={`Apply the fix: ${cause.cause}`}>
              Apply the fix
            </Button>
          )}
        </div>
      ) : (
        cause.unfixed && <p class="quiet">{cause.unfixed}</p>
      )}
    </article>
  );
}

function options(fix: unknown): string[] {
  return Object.entries(fix as Record<string, unknown>).flatMap(([name, value]) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.entries(value).map(([inner, one]) => `${name}.${inner} = ${JSON.stringify(one)}`)
      : [`${name} = ${JSON.stringify(value)}`],
  );
}

/** The same, a reason and column at a time; fetched when somebody looks. */
function ByColumn({ upload }: { upload: Upload }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>By column and reason</summary>
      {open && <Summary id={upload.id} />}
    </details>
  );
}

function Summary({ id }: { id: string }) {
  const { value, error } = usePoll("/v1/uploads/{upload_id}/rejects/summary", { path: { upload_id: id } });
  return (
    <>
      <Failure error={error} title="The summary could not be fetched." />
      {value && (
        <Scrolls label="Rejects by column and reason">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Column</th>
                <th scope="col">Reason</th>
                <th scope="col" class="end">
                  Rows
                </th>
                <th scope="col" class="end">
                  Lines
                </th>
              </tr>
            </thead>
            <tbody>
              {value.causes.map((one) => (
                <tr key={`${one.column} ${one.code} ${one.cause}`}>
                  <th scope="row">{one.column ?? "the record"}</th>
                  <td>{one.cause}</td>
                  <td class="end">{count(one.rows)}</td>
                  <td class="end">
                    {count(one.first_line)} to {count(one.last_line)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scrolls>
      )}
    </>
  );
}
