/** Options that few uploads need: budgets in percent, what is unlike earlier files, how long all is kept, who is told. */
import { useState } from "preact/hooks";
import { usePages } from "../../live";
import { Field } from "../../ui/field";
import { type Choices, wrong } from "./options";

interface Props {
  choices: Choices;
  isMaking: boolean;
  set: (what: Partial<Choices>) => void;
}

export function More({ choices, isMaking, set }: Props) {
  const [open, setOpen] = useState(false);
  const odd = wrong(choices);
  return (
    <details class="more" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>More options</summary>
      <div class="columns">
        {!isMaking && (
          <>
            <Field
              label="Most rejected rows, in percent"
              hint="Of all rows. With more the upload fails and loads nothing."
              error={odd.mostPercent}
            >
              <input
                inputMode="decimal"
                placeholder="as many as there are"
                value={choices.mostPercent}
                onInput={({ currentTarget: { value } }) =>
                  set({
                    mostPercent: value
                      .replace(",", ".")
                      .replace(/[^\d.]/g, "")
                      .slice(0, 15),
                  })
                }
              />
            </Field>
            <Field label="Columns that are unlike those of earlier files">
              <select
                value={choices.onDrift}
                onChange={(event) => set({ onDrift: event.currentTarget.value as Choices["onDrift"] })}
              >
                <option value="">are not looked for</option>
                <option value="warn">are told, and load</option>
                <option value="hold">wait until I have seen them</option>
              </select>
            </Field>
          </>
        )}
        <Field label="File and rejected rows are kept" hint="After the end. Rows that were loaded stay in any case.">
          <select
            value={choices.retention}
            onChange={(event) => set({ retention: event.currentTarget.value as Choices["retention"] })}
          >
            <option value="">30 days</option>
            <option value="short">1 day</option>
            <option value="long">365 days</option>
          </select>
        </Field>
        <Field label="Tell of the end by e-mail to" error={odd.email}>
          <input
            type="email"
            value={choices.email}
            maxLength={254}
            placeholder="nobody"
            onInput={(event) => set({ email: event.currentTarget.value.trim() })}
          />
        </Field>
        {open && <Hook value={choices.webhook} set={(webhook) => set({ webhook })} />}
      </div>
    </details>
  );
}

/** The account's webhooks, asked for when somebody looks. */
function Hook({ value, set }: { value: string; set: (webhook: string) => void }) {
  const { items } = usePages("/v1/webhooks", { query: { limit: 100 } });
  return (
    <Field label="Tell of the end by a webhook" hint="Besides those that hear of every upload.">
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">none</option>
        {items.map((one) => (
          <option key={one.id} value={one.id}>
            {one.description ? `${one.description}: ${one.url}` : one.url}
          </option>
        ))}
      </select>
    </Field>
  );
}
