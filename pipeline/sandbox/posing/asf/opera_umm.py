"""Bursts of OPERA RTC-S1 as NASA's Common Metadata Repository describes them (UMM-G, recorded in version 1.6.5)."""

from __future__ import annotations

from typing import Any

from pipeline.catalogue.identities import platform_name
from pipeline.sandbox.opera.opera_index import OperaBurst
from pipeline.sandbox.posing.asf.umm import OPERA_COLLECTION, Item, dates_of, meta_of, spatial_extent

_ALWAYS = {
    "BEAM_MODE": "IW",
    "BISTATIC_DELAY_CORRECTION": "TRUE",
    "LOOK_DIRECTION": "RIGHT",
    "NOISE_CORRECTION": "TRUE",
    "POST_PROCESSING_FILTER": "FALSE",
    "PROCESSING_TYPE": "RTC",
    "PRODUCT_VERSION": "1.0",
    "RADIOMETRIC_TERRAIN_CORRECTION": "TRUE",
    "STATIC_TROPO_CORRECTION": "TRUE",
    "WET_TROPO_CORRECTION": "FALSE",
}


def opera_item(burst: OperaBurst) -> Item:
    """The search result of a burst: `meta` and `umm`. Times have whole seconds, as recorded."""
    unit = burst.name.split("_")[6]
    form = "%Y-%m-%dT%H:%M:%SZ"
    attributes = _attributes(burst, unit)
    umm: dict[str, Any] = {
        "TemporalExtent": {
            "RangeDateTime": {
                "BeginningDateTime": burst.start.strftime(form),
                "EndingDateTime": burst.end.strftime(form),
            }
        },
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": burst.absolute_orbit}],
        "GranuleUR": burst.name,
        "AdditionalAttributes": [{"Name": name, "Values": attributes[name]} for name in sorted(attributes)],
        "SpatialExtent": spatial_extent(burst.geometry),
        "ProviderDates": dates_of(burst.processed),
        "CollectionReference": {"ShortName": OPERA_COLLECTION, "Version": "1"},
        "PGEVersionClass": {"PGEName": "RTC_S1_PGE", "PGEVersion": "2.1.0"},
        "RelatedUrls": _links(burst),
        "InputGranules": [burst.granule],
        "Projects": [{"ShortName": "SNWG/OPERA"}],
        "DataGranule": {
            "ArchiveAndDistributionInformation": [
                {
                    "Name": file.name,
                    "SizeInBytes": file.size_bytes,
                    "Format": "GeoTIFF",
                    "Checksum": {"Value": file.md5, "Algorithm": "MD5"},
                }
                for file in burst.files.values()
            ],
            "DayNightFlag": "Unspecified",
            "Identifiers": [{"Identifier": burst.name, "IdentifierType": "ProducerGranuleId"}],
            "ProductionDateTime": burst.processed.strftime(form),
        },
        "Platforms": [
            {
                "ShortName": platform_name(unit).capitalize()[:-1] + unit[-1],
                "Instruments": [
                    {
                        "ShortName": "C-SAR",
                        "Characteristics": [{"Name": "LookDirection", "Value": "RIGHT"}],
                        "OperationalModes": ["IW"],
                    }
                ],
            }
        ],
        "MetadataSpecification": {
            "Name": "UMM-G",
            "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.5",
            "Version": "1.6.5",
        },
    }
    return {"meta": meta_of(umm, burst.processed, "application/vnd.nasa.cmr.umm+json"), "umm": umm}


def _attributes(burst: OperaBurst, unit: str) -> dict[str, list[str]]:
    """The values of the additional attributes, by name."""
    return {
        **{name: [value] for name, value in _ALWAYS.items()},
        "ASCENDING_DESCENDING": [burst.direction.upper()],
        "GROUP_ID": [f"{unit}_IWDV_0000_0005_{burst.absolute_orbit:06d}_{burst.relative_orbit:03d}"],
        "OPERA_BURST_ID": [burst.burst_id],
        "PATH_NUMBER": [str(burst.relative_orbit)],
        "POLARIZATION": sorted((layer for layer in burst.files if layer != "mask"), reverse=True),
        "SUBSWATH_NAME": [burst.burst_id.rpartition("_")[2]],
    }


def _links(burst: OperaBurst) -> list[dict[str, str]]:
    """The address of each file, the one in the store, and that of its checksum."""
    found = []
    for file in burst.files.values():
        stored = f"s3://asf-cumulus-prod-opera-products/OPERA_L2_RTC-S1/{burst.name}/{file.name}"
        found += [
            {
                "URL": file.url,
                "Type": "GET DATA",
                "Description": f"Download {file.name}",
                "Format": "GeoTIFF",
            },
            {
                "URL": stored,
                "Type": "GET DATA VIA DIRECT ACCESS",
                "Description": f"This link provides direct download access via S3 to {file.name}",
                "Format": "GeoTIFF",
            },
            {
                "URL": f"{file.url}.md5",
                "Type": "EXTENDED METADATA",
                "Description": f"Download {file.name}.md5",
                "Format": "Text File",
            },
        ]
    return found
