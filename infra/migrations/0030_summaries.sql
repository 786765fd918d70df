-- Where in a table an upload's rows are is told by a BRIN index, and of what was just loaded that knows nothing before the
-- autovacuum comes by: each look at a chunk read the whole table. Whoever looks at all chunks has it made up first, as
-- the tables' owner. Where somebody else is at the table for long it is left, sooner than deadlock_timeout, or an
-- autovacuum would be ended for it: looks are only slower then.
CREATE FUNCTION rowmill.summarize_dataset(dataset integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '900ms' AS $$
DECLARE here regclass := to_regclass(format('data.d_%s', dataset)); BEGIN
    PERFORM brin_summarize_new_values(indexrelid)
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE (indrelid = here OR indrelid IN (SELECT relid FROM pg_partition_tree(here)))
      AND relkind = 'i' AND amname = 'brin';
EXCEPTION WHEN lock_not_available OR undefined_table OR undefined_object THEN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION rowmill.summarize_dataset FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.summarize_dataset TO rowmill_receipt;
GRANT CREATE ON SCHEMA rowmill TO rowmill_define;
ALTER FUNCTION rowmill.summarize_dataset OWNER TO rowmill_define;
REVOKE CREATE ON SCHEMA rowmill FROM rowmill_define;
