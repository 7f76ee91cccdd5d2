-- What a deployment says about its workflows beside their code: its manifest, as JSON (model/src/manifest.rs).
alter table dacapo.deployment add column manifest text not null default '{}';

-- An older worker would not keep to it.
update dacapo.compatibility set breaking = 15;
