/** The signed statement of what an upload came to, and whether file and table are still as it says. */
import { useEffect } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { bytes, count, exactly, legible } from "../../format";
import { usePoll } from "../../live";
import { Button } from "../../ui/button";
import { Failure, Notice } from "../../ui/notice";
import { Progress } from "../../ui/progress";
import { Scrolls } from "../../ui/scrolls";
import { Fact } from "../watch/figures";
import { may, type Upload } from "../watch/verbs";
import { saveAs, saveFrom } from "./unsent";

type Sealed = Schema<"SealedReceipt">;
type Verification = Schema<"Verification">;

const RESULTS: Record<NonNullable<Verification["result"]>, [kind: "success" | "error" | "warning", words: string]> = {
  match: ["success", "File and table are as the receipt says"],
  differs: ["error", "Something is no longer as the receipt says"],
  source_gone: ["warning", "The file is kept no longer; all else is as the receipt says"],
};

export function Receipt({ upload }: { upload: Upload }) {
  const { value, error, refresh } = usePoll("/v1/uploads/{upload_id}/receipt", { path: { upload_id: upload.id } });
  useEffect(refresh, [upload.state]);
  const sealed = value && "receipt" in value ? value : null;
  return (
    <section class="card receipt">
      <div class="title">
        <h2>Receipt</h2>
        {sealed && <Button onClick={() => save(sealed)}>Download the receipt</Button>}
        {sealed?.receipt.text && <Text id={upload.id} />}
      </div>
      {error && "code" in error && error.code === "receipt_not_found" ? (
        <p class="quiet">There is none.</p>
      ) : (
        <Failure error={error} title="There is no receipt to show." />
      )}
      {!sealed && !error && <p class="quiet">It is being made.</p>}
      {sealed && <Shown sealed={sealed} />}
      {sealed && may("verify", upload) && <Verify id={upload.id} newest={sealed.receipt.n} />}
    </section>
  );
}

function Shown({ sealed }: { sealed: Sealed }) {
  const { receipt } = sealed;
  return (
    <dl class="facts wide">
      <Fact name="Issued">{exactly(receipt.issued_at)}</Fact>
      <Fact name="File">
        {legible(receipt.file.name ?? "") || "–"} <small>{bytes(receipt.file.size)}</small>
      </Fact>
      <Fact name="SHA-256 of the file">
        {receipt.file.sha256 ? <code>{receipt.file.sha256}</code> : (receipt.file.reason ?? "–")}
      </Fact>
      {receipt.table && (
        <>
          <Fact name="Rows in the table">{count(receipt.table.rows)}</Fact>
          <Fact name="Digest of these rows">
            <code>{receipt.table.digest}</code>
          </Fact>
        </>
      )}
      {receipt.undone && (
        <Fact name="Undone">
          {count(receipt.undone.reverted_rows)} removed, {count(receipt.undone.restored_rows)} restored,{" "}
          {count(receipt.undone.conflicts)} left
        </Fact>
      )}
      {receipt.supersedes && <Fact name="Follows">receipt {count(receipt.supersedes.n)}</Fact>}
    </dl>
  );
}

/** What was made of a packed file or a workbook: the bytes that the receipt's chunks are ranges of. */
function Text({ id }: { id: string }) {
  const { busy, error, act } = useDoing();
  const fetchIt = async () => {
    const { url } = await api.get("/v1/uploads/{upload_id}/text", { path: { upload_id: id } });
    saveFrom(url);
  };
  return (
    <>
      <Button busy={busy !== null} onClick={() => act("text", fetchIt)}>
        Download the text that was read
      </Button>
      <Failure error={error} title="The text could not be fetched." />
    </>
  );
}

function save(sealed: Sealed): void {
  const file = new Blob([JSON.stringify(sealed, null, 2)], { type: "application/json" });
  const url = URL.createObjectURL(file);
  saveAs(`receipt-${sealed.receipt.upload_id}.json`, url);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function Verify({ id, newest }: { id: string; newest: number }) {
  const path = { upload_id: id };
  const { value, error, refresh } = usePoll("/v1/uploads/{upload_id}/verification", { path });
  const { busy, error: refused, act } = useDoing(refresh);
  const running = value !== null && value.state !== "completed";
  const isOld = (value?.receipt?.n ?? newest) < newest;
  const unasked = error && "code" in error && error.code === "not_verified";
  return (
    <div class="verify">
      <div class="title">
        <h3>Still so?</h3>
        <Button
          busy={busy !== null || running}
          onClick={() => act("verify", () => api.post("/v1/uploads/{upload_id}/verify", { path }))}
        >
          {running ? "Comparing" : "Compare with file and table"}
        </Button>
      </div>
      {!unasked && <Failure error={error} title="The comparison could not be fetched." />}
      <Failure error={refused} title="The comparison was not begun." />
      {running && <Progress value={value.chunks_done} max={value.chunks_total} label="Compared" />}
      {value?.result && isOld && (
        <p class="quiet">It was compared before, with receipt {value.receipt?.n}, which another one follows now.</p>
      )}
      {value?.result && !isOld && <Found found={value} result={value.result} />}
    </div>
  );
}

function Found({ found, result }: { found: Verification; result: keyof typeof RESULTS }) {
  const [kind, words] = RESULTS[result];
  const { rows } = found;
  const told = rows && [
    `${count(rows.found)} of ${count(rows.expected)} rows are there`,
    rows.missing ? `${count(rows.missing)} missing` : "",
    rows.edited ? `${count(rows.edited)} with other values` : "",
    rows.changed_by_hand ? `${count(rows.changed_by_hand)} changed by hand` : "",
  ];
  return (
    <>
      <Notice kind={kind} title={words}>
        <p>
          File: {found.source ?? "–"}, table: {found.table ?? "–"}, counts: {found.ledger ?? "–"}.{" "}
          {told?.filter(Boolean).join(", ")}
        </p>
        {found.finished_at && <p class="quiet">{exactly(found.finished_at)}</p>}
      </Notice>
      {found.chunks.length > 0 && (
        <Scrolls label="Chunks that differ">
          <table class="plain">
            <caption class="unseen">Chunks that differ</caption>
            <thead>
              <tr>
                <th scope="col">Chunk</th>
                <th scope="col">Records from</th>
                <th scope="col">File</th>
                <th scope="col">Table</th>
                <th scope="col" class="end">
                  Missing
                </th>
                <th scope="col" class="end">
                  Other values
                </th>
              </tr>
            </thead>
            <tbody>
              {found.chunks.map((one) => (
                <tr key={one.n}>
                  <th scope="row">{count(one.n)}</th>
                  <td>{count(one.first_record)}</td>
                  <td>{one.source ?? "–"}</td>
                  <td>{one.table ?? "–"}</td>
                  <td class="end">{one.missing === null ? "–" : count(one.missing)}</td>
                  <td class="end">{one.edited === null ? "–" : count(one.edited)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scrolls>
      )}
    </>
  );
}
