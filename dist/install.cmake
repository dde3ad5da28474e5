# Part of cmake --install: what names paths is made for the prefix that it is installed to. dist.cmake
# has set DIST_SOURCE, DIST_MADE (its templates are filled in there), GENERATE, ESCLUSA_CONFIG_DIR
# and the directories below the prefix.
include(${DIST_SOURCE}/paths.cmake)
set(made ${DIST_MADE}/install)
file(MAKE_DIRECTORY ${made})

esclusa_text_words(${CMAKE_INSTALL_PREFIX} ${DOC_DIR} words)
foreach(text IN ITEMS esclusa.1:man/esclusa.1.in:${MAN_DIR}/man1
                      esclusa.cfg.5:man/esclusa.cfg.5.in:${MAN_DIR}/man5
                      esclusa:completion/esclusa.bash.in:${COMPLETION_DIR})
  string(REPLACE ":" ";" part ${text})
  list(GET part 0 name)
  list(GET part 1 template)
  list(GET part 2 to)
  execute_process(COMMAND ${GENERATE} ${DIST_SOURCE}/${template} ${made}/${name} ${words}
                  COMMAND_ERROR_IS_FATAL ANY)
  file(INSTALL DESTINATION ${CMAKE_INSTALL_PREFIX}/${to} TYPE FILE FILES ${made}/${name})
endforeach()

file(GLOB units RELATIVE ${DIST_SOURCE}/systemd ${DIST_SOURCE}/systemd/*.service
     ${DIST_SOURCE}/systemd/*.socket)
foreach(unit IN LISTS units)
  esclusa_localise(${DIST_SOURCE}/systemd/${unit} ${made}/${unit} ${CMAKE_INSTALL_PREFIX}
                   ${BIN_DIR} ${DOC_DIR})
  file(INSTALL DESTINATION ${CMAKE_INSTALL_PREFIX}/${UNIT_DIR} TYPE FILE FILES ${made}/${unit})
endforeach()

# Type=notify-reload came with 253; what an older one needs is a drop-in.
if(SYSTEMD_VERSION VERSION_LESS 253 AND EXISTS ${DIST_SOURCE}/systemd/before-253.conf)
  foreach(unit IN ITEMS esclusa.service esclusa@.service)
    file(INSTALL DESTINATION ${CMAKE_INSTALL_PREFIX}/${UNIT_DIR}/${unit}.d TYPE FILE
         FILES ${DIST_SOURCE}/systemd/before-253.conf)
  endforeach()
endif()

# A configuration that is there is the user's.
esclusa_config_dir(${CMAKE_INSTALL_PREFIX} config)
if(EXISTS $ENV{DESTDIR}${config}/esclusa.cfg)
  message(STATUS "Kept: $ENV{DESTDIR}${config}/esclusa.cfg")
else()
  esclusa_localise(${DIST_SOURCE}/etc/esclusa.cfg ${made}/esclusa.cfg ${CMAKE_INSTALL_PREFIX}
                   ${BIN_DIR} ${DOC_DIR})
  file(INSTALL DESTINATION ${config} TYPE FILE FILES ${made}/esclusa.cfg)
endif()
