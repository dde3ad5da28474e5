# Where things are on the machine, for a prefix: at configuration for what is built, and again at
# installation, where --prefix may be another.

# The services' configuration. Below /usr and /usr/local it is where an administrator looks.
function(esclusa_config_dir prefix out)
  if(NOT "${ESCLUSA_CONFIG_DIR}" STREQUAL "")
    set(${out} ${ESCLUSA_CONFIG_DIR} PARENT_SCOPE)
  elseif(prefix MATCHES "^/usr(/local)?/?$")
    set(${out} /etc/esclusa PARENT_SCOPE)
  else()
    set(${out} ${prefix}/etc/esclusa PARENT_SCOPE)
  endif()
endfunction()

# What the tool of the build fills the templates with, beside what it knows itself.
function(esclusa_text_words prefix docdir out)
  esclusa_config_dir(${prefix} config)
  set(${out} CONFIG_FILE=${config}/esclusa.cfg CONFIG_DIR=${config} DOC_DIR=${prefix}/${docdir}
             EXAMPLE_DIR=${prefix}/${docdir}/examples
      PARENT_SCOPE)
endfunction()

# A file that names the paths of a Debian package, with those of this prefix.
function(esclusa_localise from to prefix bindir docdir)
  esclusa_config_dir(${prefix} config)
  file(READ ${from} text)
  string(REGEX REPLACE "/usr/s?bin/esclusa" "${prefix}/${bindir}/esclusa" text "${text}")
  string(REPLACE "/usr/share/doc/esclusa" "${prefix}/${docdir}" text "${text}")
  string(REPLACE "/etc/esclusa" "${config}" text "${text}")
  file(WRITE ${to} "${text}")
endfunction()
