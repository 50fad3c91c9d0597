/**
 * The triggers of a table, and the function that they call.
 */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** A table whose writes are told. */
export interface Target {
  readonly schema: string
  readonly name: string
  /** The column of the key; `undefined` where it has no such column. */
  readonly hasKey: boolean
  /** Whether it is a table, and not a view or the like. */
  readonly isTable: boolean
  /** Which of the triggers are there and what they should be. */
  readonly triggers: ReadonlyArray<string>
  /** Whether the function that they call is there and what it should be. */
  readonly hasFunction: boolean
}

export const identifier = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

const literal = (text: string): string =>
  (text.includes("\\") ? " E'" : "'") + text.replaceAll("\\", "\\\\").replaceAll("'", "''") + "'"

const quoted = (table: string): string => {
  const dot = table.indexOf(".")
  return dot < 0 ? identifier(table) : `${identifier(table.slice(0, dot))}.${identifier(table.slice(dot + 1))}`
}

const functionName = "effect_channels_notify"

/**
 * Tells the keys of the rows that a statement has written. A notification has less than 8,000 bytes: where there is no room for all
 * keys, it tells none. The parts of a table that is partitioned are told of as the table itself.
 */
const body = `
DECLARE
  rows text := CASE TG_OP
    WHEN 'INSERT' THEN 'SELECT %1$I FROM new_rows'
    WHEN 'DELETE' THEN 'SELECT %1$I FROM old_rows'
    WHEN 'UPDATE' THEN 'SELECT %1$I FROM new_rows UNION SELECT %1$I FROM old_rows'
  END;
  keys jsonb;
  said text;
BEGIN
  IF rows IS NOT NULL THEN
    EXECUTE format(
      'SELECT jsonb_agg(to_jsonb(key) #>> ''{}'') FROM (SELECT DISTINCT key FROM (' || rows || ') AS r (key) LIMIT 501) AS k',
      TG_ARGV[1]
    ) INTO keys;
    IF keys IS NULL THEN
      RETURN NULL;
    END IF;
    said := jsonb_build_array(TG_TABLE_SCHEMA, TG_TABLE_NAME, keys)::text;
  END IF;
  IF said IS NULL OR jsonb_array_length(keys) > 500 OR octet_length(said) > 7900 THEN
    said := jsonb_build_array(TG_TABLE_SCHEMA, TG_TABLE_NAME)::text;
  END IF;
  PERFORM pg_notify(TG_ARGV[0], said);
  RETURN NULL;
END
`

/** The triggers by their names. */
const triggers: Readonly<Record<string, string>> = {
  effect_channels_insert: "AFTER INSERT ON %t REFERENCING NEW TABLE AS new_rows",
  effect_channels_update: "AFTER UPDATE ON %t REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows",
  effect_channels_delete: "AFTER DELETE ON %t REFERENCING OLD TABLE AS old_rows",
  effect_channels_truncate: "AFTER TRUNCATE ON %t"
}

export const triggerNames: ReadonlyArray<string> = Object.keys(triggers)

/** What PostgreSQL knows of a table and its triggers; `undefined` where there is no such table. */
export const look = (
  sql: SqlClient,
  options: { readonly table: string; readonly key: string; readonly channel: string }
): Effect.Effect<Target | undefined, SqlError> =>
  Effect.map(
    sql.unsafe(
      `
SELECT
  n.nspname::text,
  c.relname::text,
  c.relkind IN ('r', 'p'),
  EXISTS (
    SELECT FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attname = $2::text AND a.attnum > 0 AND NOT a.attisdropped
  ),
  (
    SELECT coalesce(json_agg(t.tgname), '[]')::text
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid AND p.proname = '${functionName}'
    WHERE t.tgrelid = c.oid AND t.tgenabled <> 'D' AND t.tgname = ANY ($4::text::name[])
      AND t.tgargs = convert_to($3::text, 'UTF8') || '\\x00' || convert_to($2::text, 'UTF8') || '\\x00'
  ),
  EXISTS (
    SELECT FROM pg_catalog.pg_proc p
    WHERE p.proname = '${functionName}' AND p.pronamespace = c.relnamespace AND p.prosrc = $5::text
  )
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1::text)`,
      [quoted(options.table), options.key, options.channel, `{${triggerNames.join()}}`, body]
    ).values,
    ([row]) =>
      row === undefined ? undefined : {
        schema: String(row[0]),
        name: String(row[1]),
        isTable: row[2] === true,
        hasKey: row[3] === true,
        triggers: JSON.parse(String(row[4])),
        hasFunction: row[5] === true
      }
  )

/** Others who are about to install something wait, in a transaction. */
export const lock = (sql: SqlClient): Effect.Effect<unknown, SqlError> =>
  sql.unsafe("SELECT pg_advisory_xact_lock(hashtext('effect-channels'), hashtext('install'))")

/** Makes the function and the triggers that are missing. */
export const create = (
  sql: SqlClient,
  { hasFunction, name, schema, triggers: present }: Target,
  options: { readonly key: string; readonly channel: string }
): Effect.Effect<void, SqlError> => {
  const target = `${identifier(schema)}.${identifier(name)}`
  const notify = `${identifier(schema)}.${functionName}`
  const statements = hasFunction ? [] : [
    `CREATE OR REPLACE FUNCTION ${notify}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $body$${body}$body$`
  ]
  for (const [trigger, what] of Object.entries(triggers)) {
    if (present.includes(trigger)) continue
    statements.push(
      `DROP TRIGGER IF EXISTS ${trigger} ON ${target}`,
      `CREATE TRIGGER ${trigger} ${what.replace("%t", () => target)} FOR EACH STATEMENT \
EXECUTE FUNCTION ${notify}(${literal(options.channel)}, ${literal(options.key)})`
    )
  }
  return Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared, { discard: true })
}
