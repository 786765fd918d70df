/** Addresses that are told of uploads that end: added, tried out, looked into, taken away. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { ago } from "../../format";
import { Problem } from "../../http";
import { usePages } from "../../live";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Moment } from "../../ui/moment";
import { Failure, Notice } from "../../ui/notice";
import { Secret } from "./secret";

type Webhook = Schema<"Webhook">;
const TONES = { active: "good", failing: "mixed", disabled: "idle", delivered: "good", pending: "busy", failed: "bad" };

export function Webhooks() {
  const { items, error, loading, reload } = usePages("/v1/webhooks", { query: { limit: 100 } });
  const [adding, setAdding] = useState(false);
  const [shown, setShown] = useState<Webhook | null>(null);
  const doing = useDoing();
  const path = (one: Webhook) => ({ path: { webhook_id: one.id } });
  async function remove(one: Webhook): Promise<void> {
    if (await doing.act(one.id, () => api.delete("/v1/webhooks/{webhook_id}", path(one)), "The webhook is gone."))
      reload();
  }
  async function ping(one: Webhook): Promise<void> {
    const sent = await doing.act(
      one.id,
      () => api.post("/v1/webhooks/{webhook_id}/ping", path(one)),
      "A ping is on its way.",
    );
    if (sent) setShown(one);
  }
  return (
    <section class="card" aria-labelledby="webhooks">
      <div class="title">
        <h2 id="webhooks">Webhooks</h2>
        <Button small onClick={() => setAdding(true)}>
          Add a webhook
        </Button>
      </div>
      <Failure error={error ?? doing.error} />
      {!items.length && !loading && <p class="quiet">Nobody is told of uploads that end.</p>}
      <ul class="list">
        {items.map((one) => (
          <li key={one.id}>
            <div>
              <strong>{one.url}</strong> <span class={`state ${TONES[one.state]}`}>{one.state}</span>
              <p class="quiet">{one.description || `${one.events.length} kinds of events`}</p>
            </div>
            <div class="buttons">
              <Button small label={`Deliveries to ${one.url}`} onClick={() => setShown(one)}>
                Deliveries
              </Button>
              <Button small label={`Ping ${one.url}`} busy={doing.busy === one.id} onClick={() => ping(one)}>
                Ping
              </Button>
              <Button small kind="danger" label={`Delete ${one.url}`} onClick={() => remove(one)}>
                Delete
              </Button>
            </div>
          </li>
        ))}
      </ul>
      <Dialog open={adding} title="Add a webhook" onClose={() => setAdding(false)}>
        <Adding onAdded={reload} onClose={() => setAdding(false)} />
      </Dialog>
      <Dialog open={shown !== null} title="Deliveries" wide onClose={() => setShown(null)}>
        {shown && <Deliveries of={shown} />}
      </Dialog>
    </section>
  );
}

function Adding({ onAdded, onClose }: { onAdded: () => void; onClose: () => void }) {
  const [secret, setSecret] = useState<string | null>(null);
  const { busy, error, act } = useDoing();
  async function add(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const body = { url: String(form.get("url")), description: String(form.get("description")) };
    await act("add", async () => setSecret((await api.post("/v1/webhooks", { body })).secret), "The webhook is there.");
    onAdded();
  }
  if (secret !== null)
    return (
      <Secret
        words="With this secret every event is signed. It is shown now and never again."
        secret={secret}
        onClose={onClose}
      />
    );
  const wrong = error instanceof Problem ? error.fields : {};
  const atForm = error && !wrong.url && !wrong.description;
  return (
    <form class="dialog-form" onSubmit={add}>
      {atForm && <Failure error={error} />}
      <Field label="Address" hint="https, and every address of its host is a public one." error={wrong.url}>
        <input name="url" type="url" required maxLength={2000} placeholder="https://" />
      </Field>
      <Field label="What it is for" error={wrong.description}>
        <input name="description" maxLength={200} />
      </Field>
      <div class="buttons">
        <Button kind="primary" submit busy={busy !== null}>
          Add it
        </Button>
      </div>
    </form>
  );
}

function Deliveries({ of }: { of: Webhook }) {
  const asked = { path: { webhook_id: of.id }, query: { limit: 50 } };
  const { items, done, loading, error, more } = usePages("/v1/webhooks/{webhook_id}/deliveries", asked, {
    key: (one) => one.event_id,
    every: 3,
    moves: (one) => one.state === "pending",
  });
  return (
    <>
      <p class="quiet">{of.url}</p>
      <Failure error={error} />
      {!items.length && !loading && <Notice>Nothing was sent to it yet.</Notice>}
      <ul class="list">
        {items.map((one) => (
          <li key={one.event_id}>
            <div>
              <strong>{one.type}</strong> <span class={`state ${TONES[one.state]}`}>{one.state}</span>
              <p class="quiet">
                <Moment at={one.created_at} />
                {one.next_attempt_at && `, tried again ${ago(one.next_attempt_at)}`}
              </p>
            </div>
            <p class="quiet">
              {one.attempts
                .map((each) => `${each.status ?? "no answer"}${each.error ? ` (${each.error})` : ""}`)
                .join(" · ")}
            </p>
          </li>
        ))}
      </ul>
      {items.length > 0 && !done && <Button onClick={more}>Show more</Button>}
    </>
  );
}
