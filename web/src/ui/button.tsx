/** What is pressed. With `href` it is a link that looks like one; `busy` keeps it from being pressed twice. */
import type { ComponentChildren } from "preact";

interface Props {
  kind?: "primary" | "plain" | "danger";
  busy?: boolean;
  disabled?: boolean;
  /** Sends the form that it is in. */
  submit?: boolean;
  small?: boolean;
  href?: string;
  /** What a reader of the screen says where the text alone does not tell. */
  label?: string;
  onClick?: (event: MouseEvent) => void;
  children: ComponentChildren;
}

export function Button({ kind = "plain", busy, disabled, submit, small, href, label, onClick, children }: Props) {
  const look = `button ${kind}${small ? " small" : ""}`;
  if (href !== undefined) {
    return (
      <a class={look} href={href} aria-label={label}>
        {children}
      </a>
    );
  }
  return (
    <button
      type={submit ? "submit" : "button"}
      class={look}
      disabled={disabled}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      aria-label={label}
      onClick={(event) => (busy ? event.preventDefault() : onClick?.(event))}
    >
      {busy && <span class="spinner" aria-hidden="true" />}
      {children}
    </button>
  );
}
