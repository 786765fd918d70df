-- An upload whose rows show themselves all at once, into a dataset that holds none yet: its stage becomes the dataset's
-- table, with each index built over all rows, where otherwise each row is written again and goes down the indexes by itself.
-- Done as rowmill_define, as stages are made.

-- What the table has besides its columns, for the stage, without the rows that are lost. Repeat at will; where two rows have
-- one key it raises unique_violation. Before the publication, so that nobody waits for it.
CREATE FUNCTION rowmill.dress_stage(upload integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE stage regclass := to_regclass(format('stage.u_%s', upload)); here regclass; name text; made text; BEGIN
    SELECT format('data.d_%s', u.dataset)::regclass INTO STRICT here FROM rowmill.upload u WHERE number = upload;
    EXECUTE format('DELETE FROM %s s USING rowmill.lost l WHERE l.upload = %s AND s._row = (l.upload::bigint << 32) + l.record',
                   stage, upload);
    IF EXISTS (SELECT FROM pg_index WHERE indrelid = stage) THEN RETURN; END IF;
    FOR name, made IN SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
                      WHERE conrelid = here AND contype IN ('p', 'u') ORDER BY oid LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', stage, name, made);
    END LOOP;
    FOR made IN SELECT pg_get_indexdef(indexrelid) FROM pg_index
                WHERE indrelid = here AND NOT indisunique ORDER BY indexrelid LOOP
        EXECUTE replace(made, format(' ON %s USING ', here), format(' ON %s USING ', stage));
    END LOOP;
    EXECUTE format('ANALYZE %s', stage);
END $$;

-- The stage is the dataset's table from now on. If that holds a row, or is more than we have made of it, or somebody is at it
-- for long: object_in_use. Views of the table are of the new one, what was granted is granted. The last thing of a
-- transaction: until it is over nobody reads the table.
CREATE FUNCTION rowmill.take_stage(upload integer) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE stage regclass := to_regclass(format('stage.u_%s', upload)); dataset integer; here regclass; is_empty boolean;
        index oid; view text; views text[]; is_optioned boolean; BEGIN
    SELECT u.dataset INTO STRICT dataset FROM rowmill.upload u WHERE number = upload;
    here := format('data.d_%s', dataset)::regclass;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', stage);  -- an autovacuum may be at it: not while readers wait
    PERFORM set_config('lock_timeout', '900ms', true);  -- after a second Postgres looks for a deadlock, and might end a reader
    SELECT array_agg(DISTINCT format('CREATE OR REPLACE VIEW %s AS %s', v.oid::regclass, pg_get_viewdef(v.oid))),
           bool_or(reloptions IS NOT NULL)
    INTO views, is_optioned FROM pg_depend JOIN pg_rewrite r ON r.oid = objid JOIN pg_class v ON v.oid = ev_class
    WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = here AND v.oid <> here;
    IF is_optioned THEN RAISE object_in_use; END IF;
    FOREACH view IN ARRAY views LOOP EXECUTE view; END LOOP;  -- so that each is held before its table, as readers do
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', here);
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', here) INTO is_empty;
    IF NOT is_empty OR EXISTS (  -- nor may somebody have made more of it than we have
        SELECT FROM pg_trigger WHERE tgrelid = here UNION ALL SELECT FROM pg_policy WHERE polrelid = here
        UNION ALL SELECT FROM pg_publication_rel WHERE prrelid = here
        UNION ALL SELECT FROM pg_statistic_ext WHERE stxrelid = here
        UNION ALL SELECT FROM pg_constraint WHERE contype = 'f' AND here IN (conrelid, confrelid)
        UNION ALL SELECT FROM pg_class t, pg_class s WHERE (t.oid, s.oid) = (here, stage)
            AND (t.reltablespace, t.reloptions, t.relpersistence, t.relreplident, t.relrowsecurity) IS DISTINCT FROM
                (s.reltablespace, s.reloptions, s.relpersistence, s.relreplident, s.relrowsecurity)
        UNION ALL SELECT FROM pg_attribute t LEFT JOIN pg_attribute s ON (s.attrelid, s.attnum) = (stage, t.attnum)
            WHERE t.attrelid = here AND (t.attname, t.atttypid, t.atttypmod, t.attnotnull, t.attcollation, t.attstorage,
                                         t.attcompression, t.attstattarget, t.attoptions, t.atthasdef) IS DISTINCT FROM
                                        (s.attname, s.atttypid, s.atttypmod, s.attnotnull, s.attcollation, s.attstorage,
                                         s.attcompression, s.attstattarget, s.attoptions, s.atthasdef)
        UNION ALL SELECT FROM (  -- or less of the stage: indexes are declared, and given up, while uploads are under way
            SELECT FROM (
                SELECT indrelid AS made_of, replace(pg_get_indexdef(indexrelid), format(' ON %s ', indrelid::regclass), '') AS made
                FROM pg_index
                UNION ALL SELECT conrelid, replace(pg_get_constraintdef(oid), ' NOT VALID', '') FROM pg_constraint) every
            WHERE made_of IN (here, stage) GROUP BY made
            HAVING count(*) FILTER (WHERE made_of = here) <> count(*) FILTER (WHERE made_of = stage)) other
        UNION ALL SELECT FROM pg_rewrite WHERE ev_class = here
        UNION ALL SELECT FROM (SELECT (aclexplode(relacl)).grantee FROM pg_class WHERE oid = here
                               UNION ALL SELECT (aclexplode(attacl)).grantee FROM pg_attribute WHERE attrelid = here) granted
                  LEFT JOIN pg_roles ON oid = grantee WHERE rolname IS NULL OR rolname NOT LIKE 'rowmill\_%'
        UNION ALL SELECT FROM pg_stat_activity  -- nor may somebody else see a part of the rows, by a snapshot that is as old
            WHERE datname = current_database() AND usename NOT LIKE 'rowmill\_%' AND pid <> pg_backend_pid()
              AND age(backend_xmin) >= (SELECT max(age(xmin)) FROM pg_index WHERE indrelid = stage)
    ) THEN RAISE object_in_use; END IF;
    FOR index IN SELECT indexrelid FROM pg_index WHERE indrelid = here LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO empty_%s', index::regclass, index);
    END LOOP;
    EXECUTE format('ALTER TABLE %s RENAME TO empty_%s', here, dataset);
    EXECUTE format('REVOKE ALL ON %s FROM rowmill_load, rowmill_settle', stage);
    EXECUTE format('ALTER TABLE %s SET SCHEMA data', stage);
    EXECUTE format('ALTER TABLE %s RENAME TO d_%s', stage, dataset);
    PERFORM rowmill.open_dataset(dataset);
    FOREACH view IN ARRAY views LOOP EXECUTE view; END LOOP;
    EXECUTE format('DROP TABLE %s', here);
EXCEPTION  -- the last three: of a view, or another thing, that somebody has made of the table
    WHEN lock_not_available OR deadlock_detected
        OR insufficient_privilege OR wrong_object_type OR dependent_objects_still_exist THEN
        RAISE object_in_use;
END $$;

REVOKE EXECUTE ON FUNCTION rowmill.dress_stage, rowmill.take_stage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rowmill.dress_stage, rowmill.take_stage TO rowmill_settle;
GRANT CREATE ON SCHEMA rowmill TO rowmill_define;
ALTER FUNCTION rowmill.dress_stage OWNER TO rowmill_define;
ALTER FUNCTION rowmill.take_stage OWNER TO rowmill_define;
REVOKE CREATE ON SCHEMA rowmill FROM rowmill_define;
