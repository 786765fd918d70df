/** How far an upload is, how fast it goes, when it may be over and what it costs, while it is under way. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api";
import { bytes, count, counted, duration } from "../../format";
import { Progress } from "../../ui/progress";
import type { Upload } from "./verbs";

const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium" });
const MONEY = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });

interface Shown {
  upload: Upload;
  /** What is shown may be old. */
  stale: boolean;
}

export function Figures({ upload, stale }: Shown) {
  const { rate, rows_total, tier, queued_before } = upload;
  return (
    <div class={`card figures${stale ? " old" : ""}`}>
      {upload.state === "awaiting_upload" ? <Arriving upload={upload} /> : <Done upload={upload} />}
      <dl class="facts">
        <Fact name="Rows visible">
          {count(upload.rows_visible)}
          {rows_total !== null && <small> of {count(rows_total)}</small>}
        </Fact>
        <Fact name="Rejected so far">{count(upload.rejected)}</Fact>
        <Fact name="Rate">
          {rate ? `${count(Math.round(rate.rows_per_s))} rows/s` : "–"}
          {rate && <small> {bytes(rate.bytes_per_s)}/s</small>}
        </Fact>
        <Fact name="Over">
          <Band upload={upload} stale={stale} />
        </Fact>
        <Fact name="Queue">
          {tier ?? "–"}
          {queued_before !== null && (
            <small> {queued_before ? `${counted(queued_before, "chunk")} before it` : "nothing before it"}</small>
          )}
        </Fact>
        <Fact name="Cost so far">
          <Money cost={upload.cost} />
        </Fact>
      </dl>
    </div>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Money({ cost }: { cost: Upload["cost"] }) {
  if (!cost) return <>–</>;
  return (
    <span title={cost.estimate}>
      {MONEY.format(cost.usd)}
      {cost.usd_per_million_rows !== null && <small> {MONEY.format(cost.usd_per_million_rows)} a million rows</small>}
    </span>
  );
}

function Done({ upload }: { upload: Upload }) {
  const { percent, chunks_done, chunks_total, rows_total } = upload;
  const known = ["queued", "processing", "paused", "reverting", "canceling", "needs_review"].includes(upload.state);
  const words = upload.state === "reverting" ? "Undone" : upload.state === "needs_review" ? "Checked" : "Loaded";
  return (
    <div class="done">
      <p>
        <strong class="percent">{known ? `${Math.floor(percent)} %` : "…"}</strong>
        <span class="quiet">
          {chunks_total === null
            ? `${counted(chunks_done, "chunk")} done, the file is still being read`
            : `${count(chunks_done)} of ${counted(chunks_total, "chunk")}`}
          {rows_total !== null && ` · ${counted(rows_total, "row")}`}
        </span>
      </p>
      <Progress value={known || percent > 0 ? percent : null} label={words} />
    </div>
  );
}

/** Of a file that is sent in parts, what the storage has of it; of any other nobody knows before it is there. */
function Arriving({ upload }: { upload: Upload }) {
  const [stored, setStored] = useState<number | null>(null);
  useEffect(() => {
    let timer = 0;
    let over = false;
    async function look(): Promise<void> {
      const ticket = await api
        .post("/v1/uploads/{upload_id}/parts", { path: { upload_id: upload.id }, body: {} })
        .catch(() => null);
      if (over || (ticket && !("stored" in ticket))) return;
      if (ticket) setStored(ticket.stored.reduce((sum, part) => sum + part.size, 0));
      timer = setTimeout(look, 4000);
    }
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [upload.id]);
  return (
    <div class="done">
      <p>
        <strong class="percent">
          {stored === null ? "…" : `${Math.floor((stored / Math.max(1, upload.bytes_total)) * 100)} %`}
        </strong>
        <span class="quiet">
          {stored === null
            ? `Waiting for ${bytes(upload.bytes_total)}`
            : `${bytes(stored)} of ${bytes(upload.bytes_total)} are stored`}
        </span>
      </p>
      <Progress value={stored} max={upload.bytes_total} label="Stored" />
    </div>
  );
}

function Band({ upload, stale }: Shown) {
  if (!upload.eta) return <>–</>;
  const [half, most] = [upload.eta.p50_at, upload.eta.p90_at].map((moment) => Date.parse(moment)) as [number, number];
  const left = Math.max(1, Math.round((half - Date.now()) / 1000));
  return (
    <span title="Half of such uploads are over by the first moment, nine in ten by the second">
      {!stale && `in about ${duration(left)}`}
      <small>
        {" "}
        {CLOCK.format(half)} to {CLOCK.format(most)}
      </small>
    </span>
  );
}
