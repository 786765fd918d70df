/** An upload that was only checked and waits: what would happen, and the word that lets it. */
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { count, counted } from "../../format";
import { href } from "../../router";
import { Button } from "../../ui/button";
import { Failure, Notice } from "../../ui/notice";
import { Scrolls } from "../../ui/scrolls";
import { Rejected } from "../result/result";
import type { Upload } from "./verbs";

type Difference = Schema<"Difference">;

const MEASURES: Record<Difference["measure"], string> = {
  null_rate: "Share of empty cells",
  range: "Range of values",
  length: "Length of texts",
  values: "Values",
  distinct: "How many are different",
};

export function Review({ upload, refresh }: { upload: Upload; refresh: () => void }) {
  const { busy, error, act } = useDoing(refresh);
  const path = { upload_id: upload.id };
  const confirm = () => act("confirm", () => api.post("/v1/uploads/{upload_id}/confirm", { path }));
  if (upload.review) {
    const look = (
      <Button kind="primary" href={href("/upload", { review: upload.id })}>
        Look at the columns
      </Button>
    );
    return (
      <Notice title="The dataset is made once you have seen its columns" actions={look}>
        <p>{counted(upload.valid, "row")} would be loaded. Nothing is loaded yet.</p>
      </Notice>
    );
  }
  const yes = (
    <Button kind="primary" busy={busy === "confirm"} onClick={confirm}>
      Confirm: load {counted(upload.valid, "row")}
    </Button>
  );
  return (
    <>
      <Notice kind="warning" title="Nothing is loaded yet" actions={yes}>
        <p>
          The file was checked: {counted(upload.valid, "row")} would load, {count(upload.rejected)} would be rejected
          {upload.unprocessed > 0 && `, ${count(upload.unprocessed)} could not be looked at`}. Without a word it is
          canceled after seven days.
        </p>
      </Notice>
      <Failure error={error} title="It was not confirmed." />
      {upload.drift && <Drift drift={upload.drift} />}
      {upload.rejected > 0 && <Rejected upload={upload} refresh={refresh} />}
    </>
  );
}

/** Where the columns of a file are unlike those of the uploads before. */
export function Drift({ drift }: { drift: NonNullable<Upload["drift"]> }) {
  if (!drift.differences.length) return null;
  return (
    <section class="card">
      <h2>Unlike the {counted(drift.compared_with, "upload")} before</h2>
      <Scrolls label="What is unlike before">
        <table class="plain">
          <thead>
            <tr>
              <th scope="col">Column</th>
              <th scope="col">What</th>
              <th scope="col">Was</th>
              <th scope="col">Is</th>
            </tr>
          </thead>
          <tbody>
            {drift.differences.map((one) => (
              <tr key={`${one.column} ${one.measure}`}>
                <th scope="row">{one.column}</th>
                <td>{MEASURES[one.measure]}</td>
                <td>{shown(one.was)}</td>
                <td class="changed">
                  {shown(one.is)}
                  {one.new && <small> new: {one.new.join(", ")}</small>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scrolls>
    </section>
  );
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(" to ");
  if (typeof value === "number") return count(value);
  if (value && typeof value === "object")
    return Object.entries(value)
      .map(([name, one]) => `${name} ${shown(one)}`)
      .join(", ");
  return String(value ?? "–");
}
