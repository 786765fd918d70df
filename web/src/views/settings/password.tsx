/** Another password, which signs out whoever is signed in anywhere else. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api } from "../../api";
import { Problem } from "../../http";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Failure } from "../../ui/notice";

export function Password() {
  const [changing, setChanging] = useState(false);
  const close = () => setChanging(false);
  return (
    <section class="card" aria-labelledby="password">
      <div class="title">
        <h2 id="password">Password</h2>
        <Button small onClick={() => setChanging(true)}>
          Change it
        </Button>
      </div>
      <p class="quiet">A new one signs you out everywhere but here. API keys stay as they are.</p>
      <Dialog open={changing} title="Change the password" onClose={close}>
        <Changing onChanged={close} />
      </Dialog>
    </section>
  );
}

function Changing({ onChanged }: { onChanged: () => void }) {
  const { busy, error, act } = useDoing();
  async function change(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const body = { current: String(form.get("current")), new: String(form.get("new")) };
    const asked = () => api.put("/v1/account/password", { body });
    if (await act("change", asked, "The password is changed.")) onChanged();
  }
  const wrong = error instanceof Problem ? said(error) : {};
  return (
    <form class="dialog-form" onSubmit={change}>
      {error && !Object.keys(wrong).length && <Failure error={error} />}
      <Field label="Current password" error={wrong.current}>
        <input name="current" type="password" required maxLength={256} autoComplete="current-password" />
      </Field>
      <Field label="New password" hint="At least 8 characters." error={wrong.new}>
        <input name="new" type="password" required minLength={8} maxLength={256} autoComplete="new-password" />
      </Field>
      <div class="buttons">
        <Button kind="primary" submit busy={busy !== null}>
          Change it
        </Button>
      </div>
    </form>
  );
}

/** What is wrong, by field. */
function said(error: Problem): Record<string, string> {
  if (error.code === "password_wrong") return { current: error.message };
  if (error.code === "password_common") return { new: error.message };
  return error.fields;
}
