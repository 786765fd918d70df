/** Something that people should know, and what they can do about it. */
import type { ComponentChildren } from "preact";
import { Offline, Problem } from "../http";

interface Props {
  kind?: "info" | "success" | "warning" | "error";
  title?: string;
  /** Buttons. */
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

export function Notice({ kind = "info", title, actions, children }: Props) {
  return (
    <div class={`notice ${kind}`} role={kind === "error" ? "alert" : "status"}>
      <div>
        {title && <strong>{title}</strong>}
        {children}
      </div>
      {actions && <div class="actions">{actions}</div>}
    </div>
  );
}

/** What went wrong, in the words of the API or the storage, field by field where it names any. Nothing while nothing did. */
export function Failure({ error, title }: { error: Error | null; title?: string }) {
  if (!error) return null;
  if (error instanceof Offline)
    return (
      <Notice kind="warning" title="No connection">
        What is shown goes on as soon as the service answers again; what was asked for may have to be asked again.
      </Notice>
    );
  return (
    <Notice kind="error" title={title}>
      <p>{error.message}</p>
      {error instanceof Problem && error.errors.length > 0 && (
        <ul>
          {error.errors.map((one, place) => (
            <li key={place}>{one.column ? `${one.column}: ${one.detail}` : one.detail}</li>
          ))}
        </ul>
      )}
    </Notice>
  );
}
