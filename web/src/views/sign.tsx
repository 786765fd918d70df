/** The way in: to an account that there is, or a new one. */
import { useState } from "preact/hooks";
import { Offline, Problem } from "../http";
import { signIn, signUp } from "../session";
import { Button } from "../ui/button";
import { Field } from "../ui/field";
import { Mark } from "../ui/mark";
import { Failure, Notice } from "../ui/notice";

export function Sign() {
  const [isNew, setNew] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Problem | Offline | null>(null);
  const wrong = error instanceof Problem ? said(error) : {};

  async function enter(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setError(null);
    try {
      await (isNew ? signUp : signIn)(String(form.get("username")), String(form.get("password")));
    } catch (failure) {
      if (!(failure instanceof Problem || failure instanceof Offline)) throw failure;
      setError(failure);
      setBusy(false);
    }
  }

  return (
    <main class="sign">
      <div class="brand">
        <Mark size={40} /> Rowmill
      </div>
      <form class="card" onSubmit={enter}>
        <h1>{isNew ? "Create an account" : "Sign in"}</h1>
        <p class="quiet">
          Every good row of your file ends up in a typed table. Every bad row comes back with its reason.
        </p>
        {error && !Object.keys(wrong).length && <Failure error={error} />}
        {wrong.form && <Notice kind="error">{wrong.form}</Notice>}
        <Field label="Username" error={wrong.username}>
          <input
            name="username"
            autoComplete="username"
            autoCapitalize="none"
            spellcheck={false}
            required
            maxLength={254}
          />
        </Field>
        <Field label="Password" hint={isNew ? "At least 8 characters." : undefined} error={wrong.password}>
          <input
            name="password"
            type="password"
            autoComplete={isNew ? "new-password" : "current-password"}
            required
            minLength={isNew ? 8 : undefined}
            maxLength={256}
          />
        </Field>
        <Button kind="primary" submit busy={busy}>
          {isNew ? "Create the account" : "Sign in"}
        </Button>
        <p class="other">
          {isNew ? "You have an account? " : "New here? "}
          <button
            type="button"
            class="link"
            onClick={() => {
              setNew(!isNew);
              setError(null);
            }}
          >
            {isNew ? "Sign in" : "Create an account"}
          </button>
        </p>
      </form>
      <p class="quiet">
        <a href="docs">What the API takes and answers</a>
      </p>
    </main>
  );
}

/** What is wrong, by field; `form` is what is wrong with none in particular. */
function said(error: Problem): Record<string, string> {
  if (Object.keys(error.fields).length) return error.fields;
  if (error.code === "username_taken") return { username: error.message };
  return { form: error.message };
}
