# Run by CPack over the staged tree, before it is packed: what Debian wants beside what
# cmake --install gives.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/esclusa)
if(NOT EXISTS ${root}/usr/bin/esclusa)
  message(FATAL_ERROR "no staged tree in ${root}")
endif()

file(COPY ${ESCLUSA_SOURCE}/dist/debian/copyright DESTINATION ${doc})
file(COPY ${ESCLUSA_SOURCE}/CHANGELOG.md DESTINATION ${doc})
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
# SOURCE_DATE_EPOCH, if it is set, so that two packages of one source are the same.
string(TIMESTAMP day "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${doc}/changelog.Debian
     "esclusa (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) stable; urgency=medium

  * Made from the sources of that version: see changelog.gz.

 -- ${CPACK_DEBIAN_PACKAGE_MAINTAINER}  ${day}
")
file(GLOB texts ${doc}/changelog ${doc}/changelog.Debian ${root}/usr/share/man/man?/*)
execute_process(COMMAND gzip -9n ${texts} COMMAND_ERROR_IS_FATAL ANY)
file(COPY ${ESCLUSA_SOURCE}/dist/debian/lintian-overrides
     DESTINATION ${root}/usr/share/lintian/overrides)
file(RENAME ${root}/usr/share/lintian/overrides/lintian-overrides
     ${root}/usr/share/lintian/overrides/esclusa)

file(COPY ${ESCLUSA_SOURCE}/dist/logrotate/esclusa DESTINATION ${root}/etc/logrotate.d)

# A copy has the mode of the source, which is that of whoever checked it out.
file(GLOB texts ${doc}/*.gz ${root}/usr/share/man/man?/*)
file(CHMOD ${doc}/copyright ${root}/usr/share/lintian/overrides/esclusa
     ${root}/etc/logrotate.d/esclusa ${texts}
     PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
