/** A control with its label, a hint and what is wrong with it, tied together for readers of the screen. */
import { cloneElement, type VNode } from "preact";
import { useId } from "preact/hooks";

interface Props {
  label: string;
  hint?: string;
  error?: string | null;
  /** The label is said, not shown. */
  quiet?: boolean;
  /** One input, select or textarea; it gets an id and says what belongs to it. */
  children: VNode<Record<string, unknown>>;
}

/** Whether it takes a control of several lines: one of one line would lose its line breaks. */
export function hasBreaks(text: string): boolean {
  return /[\r\n]/.test(text);
}

export function Field({ label, hint, error, quiet, children }: Props) {
  const id = useId();
  const told = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label class={quiet ? "unseen" : undefined} for={id}>
        {label}
      </label>
      {cloneElement(children, {
        id,
        "aria-describedby": told || undefined,
        "aria-invalid": error ? "true" : undefined,
      })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="wrong" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
