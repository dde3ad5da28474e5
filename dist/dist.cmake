# What is installed. The man pages and the completion are made of the table of options, by a tool
# that is built for it.
#
# Components: "program", and "files" for the rest.
set(dist_source ${PROJECT_SOURCE_DIR}/dist)
set(dist_made ${PROJECT_BINARY_DIR}/dist)

# CACHE, so that a packager can say otherwise. systemd looks in lib/ below the prefix, whatever
# GNUInstallDirs calls the library directory.
set(ESCLUSA_CONFIG_DIR ${CMAKE_INSTALL_FULL_SYSCONFDIR}/esclusa
    CACHE PATH "Where the services of systemd have their configuration")
set(ESCLUSA_UNIT_DIR lib/systemd/system CACHE PATH "Where systemd's units go")
set(ESCLUSA_SYSUSERS_DIR lib/sysusers.d CACHE PATH "Where the system user is defined")
set(dist_completion_dir ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

add_executable(esclusa-generate src/generate.c)
target_link_libraries(esclusa-generate PRIVATE esclusa_core)
esclusa_warnings(esclusa-generate)

set(dist_texts "")
function(esclusa_text name template)
  add_custom_command(
    OUTPUT ${dist_made}/${name}
    COMMAND
      esclusa-generate ${dist_source}/${template} ${dist_made}/${name}
      CONFIG_FILE=${ESCLUSA_CONFIG_DIR}/esclusa.cfg CONFIG_DIR=${ESCLUSA_CONFIG_DIR}
      DOC_DIR=${CMAKE_INSTALL_FULL_DOCDIR} EXAMPLE_DIR=${CMAKE_INSTALL_FULL_DOCDIR}/examples
    DEPENDS esclusa-generate ${dist_source}/${template}
    VERBATIM)
  list(APPEND dist_texts ${dist_made}/${name})
  set(dist_texts ${dist_texts} PARENT_SCOPE)
endfunction()
file(MAKE_DIRECTORY ${dist_made})
esclusa_text(esclusa.1 man/esclusa.1.in)
esclusa_text(esclusa.cfg.5 man/esclusa.cfg.5.in)
esclusa_text(esclusa completion/esclusa.bash.in)
add_custom_target(texts ALL DEPENDS ${dist_texts})

install(TARGETS esclusa RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(FILES ${dist_made}/esclusa.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT files)
install(FILES ${dist_made}/esclusa.cfg.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 COMPONENT files)
install(FILES ${dist_made}/esclusa DESTINATION ${dist_completion_dir} COMPONENT files)
file(GLOB dist_documents CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
install(FILES ${dist_documents} ${PROJECT_SOURCE_DIR}/README.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT files)
install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/config/
  DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
  COMPONENT files
  FILES_MATCHING
  PATTERN *.cfg
  PATTERN *.inc)

# The units, with the paths of this installation in place of those of a Debian package.
set(dist_units "")
foreach(unit IN ITEMS esclusa.service esclusa@.service)
  file(READ ${dist_source}/systemd/${unit} text)
  string(REPLACE "/usr/bin/esclusa" "${CMAKE_INSTALL_FULL_BINDIR}/esclusa" text "${text}")
  string(REPLACE "/etc/esclusa" "${ESCLUSA_CONFIG_DIR}" text "${text}")
  file(CONFIGURE OUTPUT ${dist_made}/${unit} CONTENT "${text}" @ONLY)
  list(APPEND dist_units ${dist_made}/${unit})
endforeach()
set_property(
  DIRECTORY
  APPEND
  PROPERTY CMAKE_CONFIGURE_DEPENDS ${dist_source}/systemd/esclusa.service
           ${dist_source}/systemd/esclusa@.service)
install(FILES ${dist_units} DESTINATION ${ESCLUSA_UNIT_DIR} COMPONENT files)
install(FILES ${dist_source}/sysusers/esclusa.conf DESTINATION ${ESCLUSA_SYSUSERS_DIR}
        COMPONENT files)

# One that is there is the user's.
install(
  CODE "
    set(file \"\$ENV{DESTDIR}${ESCLUSA_CONFIG_DIR}/esclusa.cfg\")
    if(EXISTS \"\${file}\")
      message(STATUS \"Kept: \${file}\")
    else()
      file(INSTALL DESTINATION \"${ESCLUSA_CONFIG_DIR}\" TYPE FILE
           FILES \"${dist_source}/etc/esclusa.cfg\")
    endif()
  "
  COMPONENT files)

include(${dist_source}/package.cmake)
