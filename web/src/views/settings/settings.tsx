/** What the account may still ask for, who hears of its uploads, the keys of its machines, and its password. */
import { bytes, count, exactly } from "../../format";
import { usePoll } from "../../live";
import { Failure } from "../../ui/notice";
import { Progress } from "../../ui/progress";
import { Keys } from "./keys";
import { Password } from "./password";
import { Webhooks } from "./webhooks";

export default function Settings() {
  return (
    <div class="view">
      <h1>Settings</h1>
      <Quotas />
      <Webhooks />
      <Keys />
      <Password />
      <section class="card" aria-labelledby="more">
        <h2 id="more">For programs</h2>
        <p class="quiet">
          All that this page does a program can do as well: <a href="docs">what the API takes and answers</a>, or the
          same <a href="v1/openapi.json">as OpenAPI</a>.
        </p>
      </section>
    </div>
  );
}

function Quotas() {
  const { value, error } = usePoll("/v1/quota", {}, 15);
  const uses =
    value &&
    ([
      ["Requests", value.requests, count],
      ["Files", value.files, count],
      ["Bytes", value.bytes, bytes],
    ] as const);
  return (
    <section class="card" aria-labelledby="quotas">
      <h2 id="quotas">Quotas</h2>
      <Failure error={error} />
      <div class="pairs">
        {uses?.map(([name, use, spelled]) => (
          <div key={name}>
            <h3>{name}</h3>
            <Progress value={use.used} max={use.limit} label={`${name} used`} />
            <p class="quiet count" title={`From the start again at ${exactly(use.resets_at)}`}>
              {spelled(use.used)} of {spelled(use.limit)} {every(use.window_s)}
            </p>
          </div>
        ))}
      </div>
    </section>
  );
}

function every(seconds: number): string {
  const names: Record<number, string> = { 60: "this minute", 3600: "this hour", 86400: "today" };
  return names[seconds] ?? `in ${count(seconds)} seconds`;
}
